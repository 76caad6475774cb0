"""The fault journal as the control room shows it: what is open, and what happened last.

Reads the lines alone. What they mean for a fault's life is told by `chaos.open_faults`; here a fault counts as open
from its `apply` line until a heal that was seen to work, or until its own evidence where that ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.tracking.parts import SourceError
from services.common.chain import ChainError, read_chain

RECENT: Final = 50


@dataclass(frozen=True, slots=True)
class RunningFault:
    """A fault that was announced and is not undone."""

    number: int
    name: str
    target: str
    at_s: float
    """Unix time at which it was announced."""
    expect: str
    verified: bool | None
    """Whether its effect was seen; None while nobody has looked yet."""
    facts: Mapping[str, Any]
    """What was seen of it."""
    until_s: float | None
    """Unix time at which it is to be healed; None where nobody said."""


@dataclass(frozen=True, slots=True)
class FaultLine:
    """One line of the journal, in words."""

    at_s: float
    kind: str
    """`apply`, `evidence` or `heal`."""
    number: int
    ok: bool
    words: str


@dataclass(frozen=True, slots=True)
class FaultsView:
    """The journal now."""

    running: tuple[RunningFault, ...] = ()
    recent: tuple[FaultLine, ...] = ()
    """Oldest first, at most RECENT."""


class FaultReader:
    """Reads one journal again when it has changed."""

    def __init__(self, journal: Path, lasting: Callable[[str], bool] = lambda _: True) -> None:
        """`lasting` tells by name whether a fault stays until it is healed."""
        self._journal = journal
        self._lasting = lasting
        self._mark = (-1, -1)
        self._view = FaultsView()

    def read(self) -> FaultsView:
        """The journal now; empty where there is none. Raises SourceError where it cannot be trusted."""
        try:
            stat = self._journal.stat()
            mark = (stat.st_size, stat.st_mtime_ns)
            content = b"" if mark == self._mark else self._journal.read_bytes()
        except FileNotFoundError:
            return FaultsView()
        except OSError as error:
            raise SourceError(f"{self._journal} cannot be read: {error.strerror}") from error
        if mark != self._mark:
            try:
                whole = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
                self._view = view_of(read_chain(whole), self._lasting)
            except ChainError as error:
                raise SourceError(f"the fault journal is damaged: {error}") from error
            self._mark = mark
        return self._view


def view_of(records: Iterable[Mapping[str, Any]], lasting: Callable[[str], bool]) -> FaultsView:
    """What the journal's lines say together."""
    running: dict[int, RunningFault] = {}
    names: dict[int, str] = {}
    recent: list[FaultLine] = []
    for record in records:
        kind, number = record["k"], record["fault"]
        if kind == "apply":
            names[number] = f"{record['name']} {record['target']}"
            running[number] = RunningFault(
                number, record["name"], record["target"], record["at"], record["expect"], None, {}, record.get("until")
            )
            recent.append(FaultLine(record["at"], kind, number, True, record["expect"]))
            continue
        ok = bool(record["ok"])
        facts = record.get("facts", {})
        told = ", ".join(f"{key}={value}" for key, value in facts.items())
        verb = "seen" if kind == "evidence" else "healed"
        words = f"{names.get(number, 'a fault')}: {'' if ok else 'NOT '}{verb} {told}"
        recent.append(FaultLine(record["at"], kind, number, ok, words.rstrip()))
        known = running.get(number)
        if known is None:
            continue
        if ok and (kind == "heal" or not lasting(known.name)):
            del running[number]
        elif kind == "evidence":
            running[number] = RunningFault(
                number, known.name, known.target, known.at_s, known.expect, ok, facts, known.until_s
            )
    return FaultsView(tuple(running.values()), tuple(recent[-RECENT:]))
