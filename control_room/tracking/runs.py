"""The runs of a state folder: a line for each, and the arithmetic of the newest while it goes on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.stack.runtime import Endpoints
from control_room.tracking.arithmetic import PLACES, Arithmetic
from control_room.tracking.documents import document_of
from control_room.tracking.evidence import RunFollower
from control_room.tracking.steps import Steps, StepsReader
from control_room.verify.files import JUNIT, MANIFEST, RUN, VERDICT

LISTED: Final = 200
_SETTLED_NS: Final = 1_000_000_000
"""A folder that changed more recently is read again: its time may be too coarse to tell two changes apart."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, from the files in its folder."""

    run_id: str
    path: Path
    at_s: float
    """Unix time of its start."""
    what: str
    """The scenario's name, or the source that was replayed."""
    verdict: str
    """`proven`, `late`, `unknown`, `invalid`; `judging` between its manifest and its verdict; else `open`."""
    accepted: int = 0
    delivered: int = 0
    faults: int = 0
    classes: Mapping[str, int] | None = None
    reasons: tuple[str, ...] = ()
    arithmetic: Arithmetic | None = None
    """At its end; None before."""
    exported: bool = False
    """Whether its reports were written: junit.xml is the one that nothing but an export writes."""


@dataclass(frozen=True, slots=True)
class RunStanding:
    """The newest run now."""

    summary: RunSummary
    arithmetic: Arithmetic | None
    """None before the first look."""
    unaccounted_for_s: float = 0.0
    """How long something has been unaccounted for; 0 where nothing is."""
    duplicated: int | None = None
    """Payments of the run that the merchant has acknowledged more than once so far; None where nobody counted."""
    steps: Steps | None = None
    """Of a scenario."""


class RunsReader:
    """Lists runs; a folder is read again only when a file was put into it or replaced.

    Verdict, manifest and reports are each written whole and then put in their place, which changes the folder's time;
    what grows in place, the logs, changes nothing that is listed.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._known: dict[str, _Known] = {}

    def read(self) -> tuple[RunSummary, ...]:
        """The newest LISTED runs, newest first."""
        now_ns = time.time_ns()
        known = {}
        for name, changed_ns in _folders(self._runs_dir):
            before = self._known.get(name)
            same = before is not None and before.changed_ns == changed_ns < now_ns - _SETTLED_NS
            known[name] = before if before is not None and same else _Known(changed_ns, _began_s(self._runs_dir / name))
        self._known = known
        begun = sorted((each for each in known.items() if each[1].began_s), key=lambda each: each[1].began_s)
        return tuple(each.summary(self._runs_dir / name) for name, each in begun[: -LISTED - 1 : -1])


@dataclass(slots=True)
class _Known:
    """A folder as it was read."""

    changed_ns: int
    began_s: float
    """0 where it is no run."""
    told: RunSummary | None = None

    def summary(self, path: Path) -> RunSummary:
        """Read when it is first asked for."""
        if self.told is None:
            self.told = summary_of(path)
        return self.told


def _folders(parent: Path) -> Iterator[tuple[str, int]]:
    """The folders in `parent` and when their content changed, in nanoseconds; none where there is no such folder."""
    with contextlib.suppress(FileNotFoundError), os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                if entry.is_dir():
                    yield entry.name, entry.stat().st_mtime_ns


class RunReader:
    """Follows the newest run, or one that is named, to its end, then tells its verdict."""

    def __init__(self, runs_dir: Path, endpoints: Endpoints, run_dir: Path | None = None) -> None:
        self._runs = RunsReader(runs_dir)
        self._named = run_dir
        self._endpoints = endpoints
        self._follower: RunFollower | None = None
        self._followed: Path | None = None
        self._since_s: float | None = None
        self._steps = StepsReader()

    def read(self) -> RunStanding | None:
        """The run; None where there is none. Raises SourceError where its folder cannot be read."""
        runs = (summary_of(self._named),) if self._named is not None else self._runs.read()
        if not runs:
            return None
        newest = runs[0]
        if newest.arithmetic is not None:
            self.close()
            return RunStanding(newest, newest.arithmetic, steps=self._steps.read(newest.path))
        if self._follower is None or self._followed != newest.path:
            self.close()
            self._follower, self._followed = RunFollower(self._endpoints, newest.path, record=False), newest.path
        arithmetic = self._follower.sample()
        now_s = time.monotonic()
        if arithmetic.unaccounted == 0:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        since_s = now_s if self._since_s is None else self._since_s
        duplicated, steps = self._follower.standing.duplicated, self._steps.read(newest.path)
        return RunStanding(newest, arithmetic, now_s - since_s, duplicated, steps)

    def close(self) -> None:
        """Ends following."""
        if self._follower is not None:
            self._follower.close()
        self._follower, self._followed, self._since_s = None, None, None


def summary_of(path: Path) -> RunSummary:
    """What the files of a run say. A file that cannot be read says nothing."""
    run = document_of(path / RUN)
    verdict = document_of(path / VERDICT)
    source = run.get("source")
    told = source.get("name", "") if isinstance(source, dict) else ""
    what = str(run.get("scenario") or Path(str(told)).name or "?")
    began_s = _began_s(path)
    if not verdict:
        return RunSummary(path.name, path, began_s, what, "judging" if (path / MANIFEST).exists() else "open")
    arithmetic = _arithmetic(verdict.get("arithmetic"))
    return RunSummary(
        path.name,
        path,
        began_s,
        what,
        str(verdict.get("verdict", "unknown")),
        arithmetic.accepted,
        arithmetic.delivered,
        len(verdict.get("faults") or ()),
        {str(name): int(count) for name, count in (verdict.get("classes") or {}).items()},
        tuple(map(str, verdict.get("reasons") or ())),
        arithmetic,
        (path / JUNIT).exists(),
    )


def _arithmetic(told: Any) -> Arithmetic:
    if not isinstance(told, dict):
        return Arithmetic(0, 0)
    places = {name: int(told.get(name, 0)) for name in PLACES}
    return Arithmetic.balanced(int(told.get("accepted", 0)), int(told.get("delivered", 0)), places)


def _began_s(path: Path) -> float:
    try:
        return (path / RUN).stat().st_mtime
    except OSError:
        return 0.0
