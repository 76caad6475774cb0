"""When to try again: a pure value with injected randomness. It knows neither clocks nor Kafka.

`chance` is a random number in [0, 1) that the caller draws, so that a test can fix it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

JITTER: Final = 0.1
"""Share of a wait by which it is moved at random: ±10 %, so that transactions that failed together spread out."""
MAX_WAIT_S: Final = 600.0
"""No wait between two attempts is longer, however many attempts are configured."""
MAX_ROUND_WAIT_S: Final = 30.0
"""No wait between two rounds is longer. A parked record holds its partition's committed offset, and at 500 records/s
half a minute is 15,000 offsets: inside the window whose bitmap fits into a commit."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long apart, one transaction is tried."""

    max_attempts: int
    """Attempts per round."""
    backoff_s: float
    """The wait after the first failure of a round."""
    retry_after_cap_s: float
    """The longest `Retry-After` that is honoured."""

    @property
    def longest_wait_s(self) -> float:
        """The longest that a transaction may wait for its next attempt: standing still for less is in order."""
        last_s = min(self.backoff_s * 2.0 ** (self.max_attempts - 2), MAX_WAIT_S) if self.max_attempts > 1 else 0.0
        return max(last_s, MAX_ROUND_WAIT_S, self.retry_after_cap_s) * (1 + JITTER)

    def wait_s(self, attempt: int, retry_after_s: float | None, chance: float) -> float | None:
        """Seconds until the next attempt after `attempt` (from 1) failed; None where the round is exhausted."""
        if attempt >= self.max_attempts:
            return None
        nominal_s = min(self.backoff_s * 2.0 ** (attempt - 1), MAX_WAIT_S)
        return self._with_retry_after(nominal_s, retry_after_s, chance)

    def round_wait_s(self, retry_after_s: float | None, chance: float) -> float:
        """Seconds until the first attempt of the next round, after one was exhausted.

        Goes on where the waits inside a round ended, up to MAX_ROUND_WAIT_S, and is the same after every round: a
        merchant that is down is spared by the pause, not by waits that grow until one event takes minutes.
        """
        nominal_s = min(self.backoff_s * 2.0 ** min(self.max_attempts - 1, 30), MAX_ROUND_WAIT_S)
        return self._with_retry_after(nominal_s, retry_after_s, chance)

    def _with_retry_after(self, nominal_s: float, retry_after_s: float | None, chance: float) -> float:
        wait_s = nominal_s * (1 - JITTER + 2 * JITTER * chance)
        if retry_after_s is None:
            return wait_s
        # Later than asked, never earlier: many were told the same second.
        return max(wait_s, min(retry_after_s, self.retry_after_cap_s) * (1 + JITTER * chance))


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Seconds from a `Retry-After` header (RFC 9110 §10.2.3: delta-seconds or an HTTP-date); None where unusable.

    A date in the past is 0. `now_s` is Unix time.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 12 else MAX_WAIT_S
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # asctime's form names no zone and means UTC (RFC 9110 §5.6.7)
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now_s)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
