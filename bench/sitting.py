"""What the rows of the table measure with: a stack that is up, and the receiver of its webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.adapters import Target
from bench.load import Behaviour, Load
from bench.measure import Patience, Say, measure
from bench.receiver import Receiver
from bench.stack import Stack, running_stack

OLD_ROWS: Final = 5_000_000
_CALM: Final = Behaviour()
_WARM_UP_EVENTS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Bench:
    """A stack that is up, and the receiver that its webhooks go to."""

    stack: Stack
    receiver: Receiver
    say: Say
    old_rows: int = OLD_ROWS
    """How many payments of long ago the row of that name adds."""

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

    @contextmanager
    def beside(self) -> Iterator[Bench]:
        """Another stack with the same settings and the same receiver, made anew and taken down at the end.

        Raises:
            StackError: it does not come up.
        """
        state_dir = self.stack.state_dir.with_name(f"{self.stack.state_dir.name}-beside")
        with running_stack(state_dir, self.receiver, self.stack.settings(), self.say) as stack:
            yield replace(self, stack=stack)

    def warm_up(self) -> None:
        """Caches and compilers, before the first row."""
        self.run(Load(_WARM_UP_EVENTS), patience=Patience(settle_s=0))
