"""Two runs side by side: verdict, counts, times, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.reports.contents import Contents, gather_contents
from control_room.reports.figures import QUANTILES
from control_room.reports.pairs import flattened
from control_room.reports.words import duration
from control_room.tracking.text import harmless

Value = str | int | float | None
_PER_RUN: Final = frozenset({"run", "created_at", "started_at", "ledger_from"})
"""Keys of run.json that differ between any two runs."""
_CELL_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both runs."""

    name: str
    a: Value
    b: Value
    unit: str = ""
    """`s` for seconds, `/s` for a rate, else nothing."""

    @property
    def change(self) -> str:
        """How the second differs from the first, in words; empty where that cannot be said or nothing differs."""
        if self.a == self.b:
            return ""
        if isinstance(self.a, str) or isinstance(self.b, str) or self.a is None or self.b is None:
            return "differs"
        if self.a == 0:
            return f"{self.b - self.a:+,.4g}"
        return f"{(self.b - self.a) / self.a * 100:+.1f} %"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs."""

    a: str
    b: str
    rows: tuple[Row, ...]
    settings: tuple[Row, ...]
    """Keys of run.json whose values differ."""

    def to_json(self) -> dict[str, Any]:
        """For programs: numbers as numbers, times in seconds."""
        return {
            "runs": [self.a, self.b],
            "rows": [{"name": row.name, "a": row.a, "b": row.b, "unit": row.unit} for row in self.rows],
            "settings": [{"name": row.name, "a": row.a, "b": row.b} for row in self.settings],
        }

    def to_markdown(self) -> str:
        """For people: tables that read well in a terminal and in Markdown."""
        blocks = [_table(("", self.a, self.b, "change"), self.rows)]
        if self.settings:
            blocks.append(_table(("setting", self.a, self.b, "change"), self.settings))
        else:
            blocks.append("Both ran with the same settings.")
        return "\n\n".join(blocks)


def compare(run_a: Path, run_b: Path) -> Comparison:
    """Judges both runs from their files, one after the other, and compares them. Writes nothing."""
    a, rows_a, settings_a = _read(run_a)
    b, rows_b, settings_b = _read(run_b)
    rows = tuple(
        Row(name, _value_of(rows_a, name), _value_of(rows_b, name), (rows_a | rows_b)[name][1])
        for name in _in_order(rows_a, rows_b)
    )
    differing = (
        Row(name, settings_a.get(name), settings_b.get(name)) for name in dict.fromkeys([*settings_a, *settings_b])
    )
    return Comparison(a, b, rows, tuple(row for row in differing if row.a != row.b))


_Figures = dict[str, tuple[Value, str]]
_COUNTED: Final = ("ids", "duplicates")
"""Groups in which a name that is missing was counted 0 times."""


def _value_of(found: _Figures, name: str) -> Value:
    if name in found:
        return found[name][0]
    return 0 if name.partition(":")[0] in _COUNTED else None


def _read(run_dir: Path) -> tuple[str, _Figures, dict[str, str]]:
    """The run's name, figures and settings. The histories of a run are let go here: two of them never lie in memory."""
    contents = gather_contents(run_dir)
    settings = {name: value for name, value in flattened(contents.run) if name not in _PER_RUN}
    return contents.verdict.run, {name: (value, unit) for name, value, unit in _figures(contents)}, settings


def _in_order(a: _Figures, b: _Figures) -> Iterator[str]:
    """The names of both, classes and causes that only the second has after those of the first."""
    groups = ("verdict", "arithmetic", "ids", "duplicates", "time", "delivery", "faults")
    names = dict.fromkeys([*a, *b])
    for group in groups:
        yield from (name for name in names if name.partition(":")[0] == group)


def _figures(contents: Contents) -> Iterator[tuple[str, Value, str]]:
    verdict, found = contents.verdict, contents.figures
    yield "verdict", verdict.outcome.value, ""
    yield "arithmetic: accepted", verdict.arithmetic.accepted, ""
    yield "arithmetic: delivered", verdict.arithmetic.delivered, ""
    yield "arithmetic: unaccounted", verdict.arithmetic.unaccounted, ""
    yield from ((f"ids: {name}", count, "") for name, count in verdict.classes.items() if count)
    yield from ((f"duplicates: {cause}", count, "") for cause, count in sorted(verdict.duplicates.items()) if count)
    for share in QUANTILES:
        name = "longest latency" if share == 1 else f"latency p{share * 100:g}"
        yield f"time: {name}", found.quantile(share), "s"
    gap = found.longest_gap()
    yield "time: longest without a first delivery", None if gap is None else gap[1], "s"
    if contents.started_at and contents.drained_at:
        yield "time: from begin to drained", contents.drained_at - contents.started_at, "s"
    yield "delivery: accepted per second", _rate(found.accepted_at), "/s"
    yield "delivery: first deliveries per second", _rate(found.delivered_at), "/s"
    yield "delivery: attempts", found.attempts, ""
    yield "delivery: took more than one round", found.requeued, ""
    yield "delivery: highest backlog", max(contents.curves.backlog, default=0), ""
    yield "faults: applied", len(verdict.faults), ""
    yield "faults: without evidence", sum(not fault.verified for fault in verdict.faults), ""
    recoveries = [found.first_delivery_s for found in contents.recoveries() if found.first_delivery_s is not None]
    yield "faults: slowest first delivery after one", max(recoveries, default=None), "s"


def _rate(times: Any) -> float | None:
    """Per second between the first and the last of ascending times; None where that is no time at all."""
    return len(times) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None


def _table(head: tuple[str, ...], rows: tuple[Row, ...]) -> str:
    cells = [tuple(_text(cell) for cell in head)]
    cells += [(_text(row.name), _value(row.a, row.unit), _value(row.b, row.unit), row.change) for row in rows]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(head))]
    lines = ["| " + " | ".join(_padded(line, widths)) + " |" for line in cells]
    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _padded(line: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if column == 0 else cell.rjust(width)


def _value(value: Value, unit: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return _text(value)
    if unit == "s":
        return duration(value)
    return f"{value:,.1f} per s" if unit == "/s" else f"{value:,}"


def _text(words: str) -> str:
    return harmless(words, _CELL_CHARS).replace("|", "\\|").replace("<", "&lt;")
