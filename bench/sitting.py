"""What the rows of the table measure with: a stack that is up, and the receiver of its webhooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.adapters import Target
from bench.load import Behaviour, Load
from bench.measure import Patience, Say, measure
from bench.receiver import Receiver
from bench.stack import Stack

_CALM: Final = Behaviour()
_WARM_UP_EVENTS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Bench:
    """A stack that is up, and the receiver that its webhooks go to."""

    stack: Stack
    receiver: Receiver
    say: Say

    @property
    def target(self) -> Target:
        """The stack as it runs now."""
        return self.stack.target()

    @property
    def conninfo(self) -> str:
        """How its Postgres is reached."""
        return self.stack.runtime.endpoints().postgres_conninfo

    def run(
        self,
        load: Load,
        behaviour: Behaviour = _CALM,
        patience: Patience | None = None,
        before_drain: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """One measurement."""
        return measure(self.target, self.receiver, load, behaviour, patience, before_drain)

    def warm_up(self) -> None:
        """Caches and compilers, before the first row."""
        self.run(Load(_WARM_UP_EVENTS), patience=Patience(settle_s=0))
