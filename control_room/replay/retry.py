"""When a request without a definite answer is sent again: a value, its randomness passed in."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential waits with jitter, bounded in number and in time."""

    max_tries: int = 100
    """Requests per payment, the first included."""
    max_total_s: float = 60.0
    """No try begins later than this after the first one left."""
    first_wait_s: float = 0.2
    max_wait_s: float = 5.0
    jitter: float = 0.2
    """Each wait is up to this share shorter or longer, so that many clients do not come back as one."""

    def wait_s(self, tries: int, elapsed_s: float, random: Random, retry_after_s: float = 0.0) -> float | None:
        """Seconds to wait after try number `tries`; None where there is no further try.

        Args:
            tries: requests sent so far, at least 1.
            elapsed_s: since the first one left.
            random: where the jitter comes from.
            retry_after_s: what the answer asked for; honoured up to `max_wait_s`.
        """
        if tries >= self.max_tries:
            return None
        wait_s = min(self.max_wait_s, self.first_wait_s * 2 ** min(tries - 1, 30))
        wait_s = max(wait_s, min(retry_after_s, self.max_wait_s))
        wait_s *= 1 + self.jitter * (2 * random.random() - 1)
        return wait_s if elapsed_s + wait_s <= self.max_total_s else None
