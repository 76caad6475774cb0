"""A run that is over, opened again: snapshots of any moment of it, from its tracking record and its other files.

Usage::

    opened = OpenedRun(run_dir)
    opened.start()            # reads in a thread; snapshots say so until it is done
    opened.go(moment_s)
    opened.snapshot()
"""

from __future__ import annotations

import csv
import threading
from bisect import bisect_left
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import orjson

from control_room.chaos.catalogue import CATALOGUE
from control_room.replay.errors import ReplayError
from control_room.replay.options import ReplayOptions
from control_room.replay.progress import Progress
from control_room.replay.source import CsvSource, fingerprint
from control_room.stack.runtime import Endpoints
from control_room.tracking.arithmetic import PLACES, Arithmetic
from control_room.tracking.faults_view import view_of
from control_room.tracking.listing import Listing, Query, arranged
from control_room.tracking.parts import Part, first_line
from control_room.tracking.record import Record, read_record
from control_room.tracking.record.as_of import (
    Details,
    arithmetic_at,
    find_at,
    listing_at,
    story_at,
)
from control_room.tracking.record.form import KEPT_PARTS
from control_room.tracking.record.lives import Lives, read_lives, sound_records
from control_room.tracking.record.sendings import share_of
from control_room.tracking.runs import RunStanding, RunSummary, summary_of
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.steps import read_steps
from control_room.tracking.timeline import Timeline
from control_room.tracking.transactions import TransactionRow
from control_room.verify.files import FAULTS, PROBES, REJECTED, RUN, TRACKING
from services.common.event import AMOUNT, COLUMNS, RECEIVER_NAME, SENDER_NAME, STATUS

NO_RECORD: Final = "this run has no tracking record: only what its other files tell is shown"
LOUD_ALONE: Final = "a record keeps warnings and errors alone"
PROBE_HOLDS_S: Final = 2.0
"""A look at what was left tells of no later moment than this."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on the time line."""

    at_s: float
    kind: str
    """`apply` or `heal`."""
    words: str


@dataclass(frozen=True, slots=True)
class _Files:
    """What was read of the run."""

    summary: RunSummary
    api_url: str
    settings: ReplayOptions | None
    record: Record | None
    lives: Lives
    details: dict[int, Details]
    faults: tuple[dict[str, Any], ...]
    probes: tuple[dict[str, Any], ...]
    begins_at_s: float
    ends_at_s: float
    bad_lines: tuple[int, ...]
    """Lines of the source that held bad rows, ascending."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The transactions at a moment."""

    moment_s: float
    query: Query
    listing: Listing
    sum: Arithmetic
    """As the files other than the record tell it."""
    progress: Progress


class OpenedRun:
    """One run, at one moment of it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.moment_s = 0.0
        self.error = ""
        """Why nothing can be shown, in a sentence."""
        self._files: _Files | None = None
        self._query = Query()
        self._listed: _Listed | None = None
        self._wake = threading.Condition()
        self._made: tuple[float, _Listed | None, Snapshot] | None = None

    def start(self) -> None:
        """Reads the run, in a thread of its own, and then lists its transactions whenever the moment has changed."""
        threading.Thread(target=self._work, name="opened-run", daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether it has been read."""
        return self._files is not None

    @property
    def span_s(self) -> tuple[float, float]:
        """Its first and its last moment (Unix); both 0 before it was read."""
        return (self._files.begins_at_s, self._files.ends_at_s) if self._files is not None else (0.0, 0.0)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The faults and their heals, oldest first."""
        if self._files is None:
            return ()
        view = view_of(self._files.faults, _lasting)
        return tuple(Mark(line.at_s, line.kind, line.words) for line in view.recent if line.kind != "evidence")

    @property
    def note(self) -> str:
        """What is not as it should be with the record, in a sentence."""
        if self._files is None:
            return self.error
        return NO_RECORD if self._files.record is None else self._files.record.damage

    @property
    def settings(self) -> ReplayOptions | None:
        """What was sent; None where run.json does not tell."""
        return self._files.settings if self._files is not None else None

    @property
    def progress(self) -> Progress | None:
        """How the sending stood at the moment, or at one of a moment ago; None before the run was read."""
        return self._listed.progress if self._listed is not None else None

    def go(self, moment_s: float) -> None:
        """To a moment (Unix), or to the end of the run that is nearer."""
        begins_at_s, ends_at_s = self.span_s
        with self._wake:
            self.moment_s = min(max(moment_s, begins_at_s), ends_at_s)
            self._wake.notify()

    def ask(self, query: Query) -> None:
        """What the list of transactions is to show."""
        with self._wake:
            self._query = query
            self._wake.notify()

    def hurry(self, *names: str) -> None:
        """Nothing of a run that is over becomes newer."""

    def snapshot(self) -> Snapshot:
        """The moment; never waits for the list of transactions, which may be one of a moment ago.

        A run without a record is told from that list: then the snapshot is of the list's moment.
        """
        files, moment_s, listed = self._files, self.moment_s, self._listed
        if files is None:
            return Snapshot(number=1, stack=Part(None, self.error)) if self.error else Snapshot()
        if self._made is None or self._made[0] != moment_s or self._made[1] is not listed:
            self._made = moment_s, listed, self._snapshot(files, moment_s, listed)
        return self._made[2]

    def story(self, transaction_id: str) -> Timeline:
        """The story of one until now. Raises UnknownTransactionError, RuntimeError before the run was read."""
        files = self._read()
        return story_at(files.lives, self.run_dir, transaction_id, self.moment_s, files.details.get)

    def find(self, text: str) -> TransactionRow:
        """The transaction whose id begins so. Raises as `find_at`, RuntimeError before the run was read."""
        files = self._read()
        return find_at(files.lives, text, self.moment_s, files.details.get)

    def _read(self) -> _Files:
        if self._files is None:
            raise RuntimeError(self.error or "the run is still being read")
        return self._files

    def _work(self) -> None:
        """Failure policy: open. What cannot be read is said instead."""
        try:
            files = _read_files(self.run_dir)
        except Exception as error:  # noqa: BLE001 - a folder may hold anything; the screen says what was wrong with it
            self.error = f"this run cannot be opened: {first_line(error)}"
            return
        self.moment_s = files.begins_at_s
        self._files = files
        while True:
            with self._wake:
                self._wake.wait_for(self._is_behind)
                moment_s, query = self.moment_s, self._query
            whole = listing_at(files.lives, moment_s, Query(), files.details.get)
            fitting = replace(whole, query=query, rows=arranged(whole.rows, query, moment_s))
            total = self._sum(files, moment_s, whole)
            self._listed = _Listed(moment_s, query, fitting, total, _progress(files, moment_s))

    def _is_behind(self) -> bool:
        return self._listed is None or (self._listed.moment_s, self._listed.query) != (self.moment_s, self._query)

    def _snapshot(self, files: _Files, moment_s: float, listed: _Listed | None) -> Snapshot:
        told = files.record.at(moment_s) if files.record is not None else None
        if told is None:
            moment_s = listed.moment_s if listed is not None else moment_s
            told = self._without_record(files, moment_s, listed.sum if listed is not None else None)
        elif told.logs.value is not None and not told.logs.error:
            told = replace(told, logs=replace(told.logs, error=LOUD_ALONE, age_s=0.0))
        notes = "; ".join(files.lives.notes)
        changes: dict[str, Any] = {
            "runs": Part((files.summary,)),
            "transactions": Part(None, "reading") if listed is None else Part(listed.listing, notes),
        }
        if moment_s >= files.ends_at_s and files.summary.arithmetic is not None:
            standing = RunStanding(files.summary, files.summary.arithmetic, steps=read_steps(self.run_dir))
            changes["run"] = Part(standing)
        return replace(told, **changes)

    def _without_record(self, files: _Files, moment_s: float, total: Arithmetic | None) -> Snapshot:
        """The moment as far as files other than the record tell it."""
        begins = f"its tracking record begins later: {NO_RECORD}" if files.record is not None else NO_RECORD
        silent: Part[Any] = Part(None, begins)
        parts: dict[str, Any] = dict.fromkeys(KEPT_PARTS, silent)
        ends = Endpoints(files.api_url, {}, "", "", "", {}, "", "", "", {}, "", {})
        parts["stack"] = Part(ends)  # the run was sent to one
        parts["faults"] = Part(view_of((each for each in files.faults if each["at"] <= moment_s), _lasting))
        summary = replace(files.summary, verdict="open", arithmetic=None, classes=None, reasons=())
        parts["run"] = Part(RunStanding(summary, total, steps=read_steps(self.run_dir, moment_s)))
        return Snapshot(1, moment_s, **parts)

    def _sum(self, files: _Files, moment_s: float, whole: Listing) -> Arithmetic:
        """As the last look at what was left saw it, else as the run's other files do."""
        before = [each for each in files.probes if moment_s - PROBE_HOLDS_S <= each["at"] <= moment_s]
        if before:
            last = before[-1]
            places = {name: int(last.get(name, 0)) for name in PLACES}
            stale = tuple(last.get("stale", ()))
            return Arithmetic.balanced(int(last["accepted"]), int(last["delivered"]), places, stale=stale)
        return arithmetic_at(whole)


def _progress(files: _Files, moment_s: float) -> Progress:
    """As a replay tells of itself while it goes on."""
    sendings = files.lives.sendings
    sent = sendings.at(moment_s)
    ended = sendings.ends_at_s is not None and moment_s >= sendings.ends_at_s
    until_s = min(moment_s, sendings.ends_at_s) if sendings.ends_at_s is not None else moment_s
    elapsed_s = max(0.0, until_s - sendings.begins_at_s) if sendings.begins_at_s is not None else 0.0
    answered = sent.accepted + sum(sent.refused.values())
    whole_per_s = answered / elapsed_s if elapsed_s else 0.0
    p50_s, p95_s, p99_s = (share_of(sent.latencies_s, share) for share in (0.5, 0.95, 0.99))
    return Progress(
        run_id=files.summary.run_id,
        payments=sent.payments,
        accepted=sent.accepted,
        duplicates=sent.duplicates,
        refused=sent.refused,
        gave_up=sent.payments - answered if ended else 0,
        in_flight=0 if ended else sent.payments - answered,
        requests=sent.requests,
        unanswered=sent.unanswered,
        bad_rows=len(files.bad_lines) if ended else bisect_left(files.bad_lines, sent.line),
        skipped=0,
        elapsed_s=elapsed_s,
        rate_per_s=whole_per_s if ended else sent.recent_per_s,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        max_s=sent.latencies_s[-1] if sent.latencies_s else 0.0,
        expected=sendings.payments,
        eta_s=None,
        ended=ended,
        rates_per_s=sent.rates_per_s,
        p95s_s=sent.p95s_s,
    )


def _read_files(run_dir: Path) -> _Files:
    """Everything. Raises OSError, ValueError or KeyError: it is no run."""
    document = orjson.loads((run_dir / RUN).read_bytes())
    began_s = float(document.get("started_at") or document.get("created_at") or 0.0)
    record = read_record(run_dir / TRACKING)
    if record is not None:
        record.at(record.moments[-1].at_s)  # one of another version is found out here, not while drawing
    lives = read_lives(run_dir)
    notes: list[str] = []
    faults = tuple(sound_records(run_dir / FAULTS, notes))
    times = [each for each in (lives.begins_at_s, lives.ends_at_s, began_s or None) if each is not None]
    times += [each["at"] for each in faults]
    if record is not None:
        times += [record.moments[0].at_s, record.moments[-1].at_s]
    return _Files(
        summary_of(run_dir),
        str(document.get("api_url", "")),
        _settings(document),
        record,
        replace(lives, notes=(*lives.notes, *notes)),
        _details(document, lives),
        faults,
        tuple(each for each in sound_records(run_dir / PROBES, notes) if each["k"] == "probe"),
        min(times, default=0.0),
        max(times, default=0.0),
        _bad_lines(run_dir / REJECTED),
    )


def _bad_lines(path: Path) -> tuple[int, ...]:
    """Failure policy: open. A file that is not there, or cannot be read, tells of none."""
    try:
        # surrogateescape: a row that was not UTF-8 is kept byte for byte.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return tuple(sorted(int(row["line"]) for row in csv.DictReader(file)))
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        return ()


def _settings(document: dict[str, Any]) -> ReplayOptions | None:
    """Failure policy: open. Settings of another version are not shown."""
    try:
        return ReplayOptions.from_document(document["settings"])
    except (ReplayError, KeyError, TypeError, ValueError):
        return None


def _details(document: dict[str, Any], lives: Lives) -> dict[int, Details]:
    """What the source says of each payment, by line.

    Failure policy: open. A source that is gone, or is another by now, says nothing.
    """
    wanted = {life.row for life in lives.by_id.values()}
    found: dict[int, Details] = {}
    try:
        path = Path(document["settings"]["source"])
        if fingerprint(path).sha256 != document["source"]["sha256"]:
            return {}
        source = CsvSource(path)
        places = dict(zip(COLUMNS, source.places, strict=True))
        for row in source.rows():
            if row.line in wanted and not row.fault and len(row.cells) == source.columns:
                words = [row.cells[places[name]] for name in (STATUS, SENDER_NAME, RECEIVER_NAME)]
                found[row.line] = Details(_amount(row.cells[places[AMOUNT]]), *words)
    except (ReplayError, KeyError, TypeError):
        return {}
    return found


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("NaN")


def _lasting(name: str) -> bool:
    return name not in CATALOGUE or CATALOGUE[name].lasting
