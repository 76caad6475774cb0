"""report.html: one file that loads nothing, runs nothing and shows what a verdict rests on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from control_room.reports import charts
from control_room.reports.contents import Contents
from control_room.reports.figures import QUANTILES
from control_room.reports.meanings import MEANING
from control_room.reports.pairs import flattened
from control_room.reports.words import clock, date, duration
from control_room.tracking.text import harmless
from control_room.verify.classes import VIOLATIONS
from control_room.verify.deliveries import Delivery
from control_room.verify.duplicates import WORDS, Cause
from control_room.verify.durable import write_whole
from control_room.verify.verdict import Verdict, summary

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE: Final = "report.html"
CELL_CHARS: Final = 400
"""A cell of a table: an error message of a database may be pages long, and its first lines say what it was."""
_MOST_SETTINGS: Final = 200
_MOST_FAULTS: Final = 500
_MOST_CLOSE_UPS: Final = 4
_MOST_FACTS: Final = 40
_TEMPLATES: Final = "templates"


def write_page(run_dir: Path, contents: Contents) -> Path:
    """Writes report.html into the run's folder and returns its path. Raises OSError where that cannot be."""
    return write_whole(run_dir / PAGE, page(contents).encode("utf-8", "backslashreplace"))


def page(contents: Contents) -> str:
    """The page."""
    style = _style()
    found = hashlib.sha256(style.encode()).digest()
    return (
        _environment()
        .get_template(f"{PAGE}.j2")
        .render(
            style=style,
            style_hash=base64.b64encode(found).decode(),
            verdict=contents.verdict,
            **_verdict(contents.verdict),
            **_drawings(contents),
            **_tables(contents),
            facts=list(_facts(contents)),
            settings=list(islice(flattened(contents.run), _MOST_SETTINGS)),
            begun=date(contents.started_at) if contents.started_at else "",
        )
    )


@cache
def _environment() -> Environment:
    """Everything that a template prints is escaped, and a name it does not have is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("control_room.reports", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(shown=_shown, percent=_percent, duration=duration, count=_count, facts=_facts_text)
    return made


@cache
def _style() -> str:
    return resources.files("control_room.reports").joinpath(_TEMPLATES, "report.css").read_text(encoding="utf-8")


def _shown(text: object) -> str:
    """Text from files: on one line, of bounded length, with nothing in it that hides or turns what it says."""
    return harmless(text, CELL_CHARS)


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"


def _count(number: float) -> str:
    return f"{number:,}"


def _facts_text(facts: Mapping[str, Any]) -> str:
    return _shown(", ".join(f"{name}: {words}" for name, words in islice(flattened(facts), _MOST_FACTS)))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    headline, _, sentence = summary(verdict).partition("\n")[0].partition(": ")
    equation, *others = verdict.arithmetic.line().split("; ")
    accepted, _, parts = equation.partition(" = ")
    return {
        "headline": headline,
        "sentence": sentence,
        "accepted": accepted.split(" ", 1),
        "terms": [part.split(" ", 1) for part in parts.split(" + ")],
        "asides": others,
        "violations": [(name.value, verdict.classes.get(name.value, 0)) for name in VIOLATIONS],
    }


def _drawings(contents: Contents) -> dict[str, Any]:
    curves = contents.curves
    drawn = (
        charts.throughput_chart(curves),
        charts.merchant_chart(curves),
        charts.backlog_chart(curves),
        charts.places_chart(curves),
    )
    bars = charts.fault_bars(contents.verdict.faults, curves.axis)
    return {
        "charts": [chart for chart in drawn if chart is not None] if curves.backlog else [],
        "bars": bars,
        "lanes": max((bar.lane + 1 for bar in bars), default=0),
        "undrawn": len(contents.verdict.faults) - len(bars),
        "ticks": charts.time_ticks(curves.axis),
        "axis_begin": clock(curves.axis.begin),
        "buckets": charts.latency_buckets(contents.figures),
        "quantiles": [
            ("max" if share == 1 else f"p{share * 100:g}", duration(contents.figures.quantile(share)))
            for share in QUANTILES
        ],
    }


def _tables(contents: Contents) -> dict[str, Any]:
    verdict, uncommon, loads = contents.verdict, contents.uncommon, contents.merchant_loads()[:_MOST_FAULTS]
    most = max(verdict.duplicates.values(), default=0)
    return {
        "recoveries": contents.recoveries()[:_MOST_FAULTS],
        "merchant_loads": loads,
        "close_ups": [charts.close_up(load) for load in loads[:_MOST_CLOSE_UPS] if any(load.close_up_per_s)],
        "duplicates": [
            (WORDS[Cause(cause)], count, count / most) for cause, count in sorted(verdict.duplicates.items()) if count
        ],
        "classes": [(name, count, MEANING.get(name, "")) for name, count in verdict.classes.items()],
        "uncommon": [_uncommon(row, contents.curves.axis.begin) for row in uncommon.rows()],
        "uncommon_count": uncommon.count,
    }


def _uncommon(row: Delivery, begin: float) -> dict[str, str]:
    why = "; ".join(filter(None, (row.why, *(WORDS[cause] for cause in row.causes))))
    took = duration(max(0.0, row.delivered_at - row.accepted_at)) if row.accepted_at and row.delivered_at else ""
    return {
        "id": row.transaction_id or "(none)",
        "class": row.outcome.value,
        "duplicates": str(row.duplicates or ""),
        "why": why,
        "accepted": f"+{row.accepted_at - begin:.2f} s" if row.accepted_at else "",
        "took": took,
        "answers": harmless(row.answers, 60),
    }


def _facts(contents: Contents) -> Iterator[tuple[str, str]]:
    """The figures that a reader looks for first."""
    found = contents.figures
    if found.accepted_at:
        yield "median latency", duration(found.quantile(0.5)) or "-"
        yield "99th percentile", duration(found.quantile(0.99)) or "-"
    gap = found.longest_gap()
    if gap is not None:
        yield "longest time without a first delivery", duration(gap[1])
    yield "delivery attempts", _count(found.attempts)
    yield "took more than one round", _count(found.requeued)
    yield "delivered more than once", _count(contents.verdict.classes.get("duplicated", 0))
    yield (
        "faults, all verified" if _all_verified(contents) else "faults, NOT all verified",
        str(len(contents.verdict.faults)),
    )
    if contents.started_at and contents.drained_at:
        yield "from begin to drained", duration(contents.drained_at - contents.started_at)


def _all_verified(contents: Contents) -> bool:
    return all(fault.verified for fault in contents.verdict.faults)
