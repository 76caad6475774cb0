"""What a fault is: a name, its targets, what it will hit, how it is applied, seen and healed.

The faults themselves are in `member_faults` and `merchant_fault`; the one list of them is `catalogue`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence
from control_room.stack.runtime import Runtime, alike

MERCHANT: Final = "merchant-server"


class Fault(ABC):
    """One fault on one target. Made by `catalogue.make`, or from its journal line by `catalogue.remake`.

    The order of calls: `prepare`, `preview`, (journal), `apply`, `evidence`; later `heal`, `healed`. Each may raise
    FaultError or the runtime's StackError, and nothing else.
    """

    name: ClassVar[str]
    """The word of the command line and of the journal."""
    summary: ClassVar[str]
    """What it does, in a sentence without a subject."""
    targets: ClassVar[tuple[str, ...]]
    """The members it can hit."""
    lasting: ClassVar[bool] = True
    """Whether it stays until it is healed; one that is not lasting is over once its effect was seen."""
    takes: ClassVar[bool] = False
    """Whether it takes parameters."""
    closes: ClassVar[frozenset[str]] = frozenset()
    """Names of lasting faults on the same member that end when this one took effect."""

    needs: ClassVar[Mapping[str, str]] = {}
    """Settings that the stack must have been started with, by variable, for the fault to be there at all."""

    def __init__(self, target: str, facts: Mapping[str, Any] | None = None) -> None:
        """`facts` are those of `prepare`, kept in the journal."""
        if alike(target) not in self.targets:
            raise FaultError(f"{self.name} cannot hit {target}; it can hit {', '.join(self.targets)}")
        self.target = target
        self.facts: dict[str, Any] = dict(facts or {})

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Why this platform, this runtime or the stack that is up cannot do it, in a sentence; None where it can.

        Raises NotRunningError where that depends on the stack, and there is none.
        """
        del runtime
        return None

    @abstractmethod
    def prepare(self, runtime: Runtime) -> None:
        """Looks at the target before anything is done to it, and remembers in `facts` what evidence and heal need.

        Raises FaultError where the fault would have no effect: one that hits nothing proves nothing.
        """

    @abstractmethod
    def preview(self, live: LiveState) -> str:
        """What it will hit now, and what to expect, in one sentence."""

    @abstractmethod
    def apply(self, runtime: Runtime) -> None:
        """Does it."""

    @abstractmethod
    def evidence(self, runtime: Runtime) -> Evidence:
        """Waits until the effect is seen, or a deadline; never raises for an effect that is not there."""

    @abstractmethod
    def heal(self, runtime: Runtime) -> None:
        """Undoes it; harmless where it was undone already."""

    @abstractmethod
    def healed(self, runtime: Runtime) -> Evidence:
        """Waits until it is seen to be undone, or a deadline."""
