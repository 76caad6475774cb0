"""What a replay is asked to do; all of it but the address and the secret is kept in `run.json`."""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from control_room.replay.errors import OptionsError
from control_room.replay.retry import RetryPolicy
from services.common.batch import MAX_BATCH_EVENTS

DEFAULT_CONCURRENCY: Final = 32
DEFAULT_BATCH_CONCURRENCY: Final = 6
"""Batches on their way at once, where nobody said how many: two for each replica."""
MAX_CONCURRENCY: Final = 10_000


def new_seed() -> int:
    """A seed for a run whose seed nobody chose."""
    return secrets.randbits(32)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a source is replayed. Raises OptionsError where values do not fit together."""

    source: Path
    max_payments: int | None = None
    """At most so many payments are sent altogether, over all repetitions; bad rows do not count."""
    rate_per_s: float | None = None
    """Open loop: payments leave at this rate whether or not answers come; latency counts from when one was due."""
    speed: float | None = None
    """Open loop: the file's own time gaps, so many times faster."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Closed loop (neither rate nor speed): requests on their way at once."""
    max_in_flight: int = 1000
    """Open loop: payments on their way at once; beyond it the next request leaves late, and its latency says so."""
    repeat: int = 1
    """How many times the file is sent; more than once implies fresh ids."""
    ids: Literal["file", "fresh"] = "file"
    """`file`: the rows' own ids. `fresh`: new ids that follow from the seed, the repetition and the row."""
    strict: bool = False
    """One bad row, and nothing is sent."""
    request_timeout_s: float = 10.0
    batch: int = 1
    """Payments in one request: more than one go to `POST /events/batch`, each with its own operation and answer."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    seed: int = field(default_factory=new_seed)

    def __post_init__(self) -> None:
        """Refuses what does not fit together."""
        _at_least_one("max", self.max_payments)
        _at_least_one("repeat", self.repeat)
        _at_least_one("concurrency", self.concurrency)
        _at_least_one("max in flight", self.max_in_flight)
        for name, value in (("concurrency", self.concurrency), ("max in flight", self.max_in_flight)):
            if value > MAX_CONCURRENCY:
                raise OptionsError(f"{name} must be at most {MAX_CONCURRENCY:,}.")
        if not 1 <= self.batch <= MAX_BATCH_EVENTS:
            raise OptionsError(f"batch must be 1 to {MAX_BATCH_EVENTS}.")
        for name, number in (
            ("rate", self.rate_per_s),
            ("speed", self.speed),
            ("request timeout", self.request_timeout_s),
        ):
            if number is not None and not (math.isfinite(number) and number > 0):
                raise OptionsError(f"{name} must be a number greater than 0.")
        if self.rate_per_s is not None and self.speed is not None:
            raise OptionsError("rate and speed exclude each other: the time between payments comes from one of them.")
        if self.ids not in ("file", "fresh"):
            raise OptionsError("ids must be file or fresh.")
        if self.repeat > 1 and self.ids == "file":
            object.__setattr__(self, "ids", "fresh")

    @property
    def open_loop(self) -> bool:
        """Whether payments leave by the clock instead of by the answers."""
        return self.rate_per_s is not None or self.speed is not None

    @property
    def requests_at_once(self) -> int:
        """Requests on their way at most: of an open loop, as many as carry `max_in_flight` payments."""
        return max(1, self.max_in_flight // self.batch) if self.open_loop else self.concurrency

    def document(self) -> dict[str, Any]:
        """As the `settings` of run.json."""
        found = dataclasses.asdict(self)
        found["source"] = str(self.source)
        return found

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ReplayOptions:
        """The options that `document` made. Raises OptionsError where they are not complete."""
        try:
            # Runs of versions that knew no batches can still be opened and resumed.
            values = {item.name: {"batch": 1, **document}[item.name] for item in dataclasses.fields(cls)}
            values["source"] = Path(values["source"])
            values["retry"] = RetryPolicy(**values["retry"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise OptionsError(f"The run's settings cannot be read: {error}.") from error


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise OptionsError(f"{name} must be at least 1.")
