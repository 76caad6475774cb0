"""Several results of `table` beside each other: the median of each figure, and its spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

_FIGURES: Final = (
    ("delivered_per_s", "delivered/s"),
    ("acknowledged_per_s", "accepted/s"),
    ("drained_per_s", "drained/s"),
    ("published_per_s", "published/s"),
    ("highest_rate_per_s", "highest rate/s"),
    ("scheduled_to_delivered_ms.p50", "scheduled to delivered, p50 ms"),
    ("scheduled_to_delivered_ms.p99", "scheduled to delivered, p99 ms"),
    ("accepted_to_delivered_ms.p50", "accepted to delivered, p50 ms"),
    ("accepted_to_delivered_ms.p99", "accepted to delivered, p99 ms"),
    ("first_try.delivered_per_s", "delivered at the first try/s"),
    ("first_try.ms.p99", "delivered at the first try, p99 ms"),
    ("calm_first_try.ms.p99", "the same, calm, p99 ms"),
    ("beside.accept_ms.p99", "accepting beside it, p99 ms"),
    ("beside.calm_accept_ms.p99", "the same, calm, p99 ms"),
    ("cpu_s_per_1000", "CPU-s per 1,000"),
    ("memory_mib_by_part.dispatcher", "dispatcher MiB"),
    ("missing", "missing"),
    ("slower", "slower"),
    ("dearer", "dearer"),
    ("share_of_a_core", "share of a core"),
    ("memory_mib", "MiB"),
    ("median_s", "median s"),
    ("by_way.one by one.cpu_us_per_event", "one by one, CPU us per event"),
    ("by_way.one by one.peak_mib", "one by one, MiB"),
    ("by_way.in batches of 100.cpu_us_per_event", "in batches of 100, CPU us per event"),
    ("by_way.in batches of 100.peak_mib", "in batches of 100, MiB"),
    ("check.took_s", "check, s"),
    ("check.peak_mib", "check, MiB"),
    ("report.took_s", "report, s"),
    ("report.peak_mib", "report, MiB"),
)
"""Where a figure lies in a row, and its name."""


def table_of(documents: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown of every figure that the results have, one line each: median, least, most."""
    speeds = ", ".join(f"{one['calibrate_us']}-{one['calibrate_after_us']}" for one in documents)
    head = (f"{len(documents)} runs, `calibrate_us` {speeds}", "", "| row | figure | median | least - most |")
    return "\n".join([*head, "|---|---|---|---|", *_lines(documents)])


def _lines(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in dict.fromkeys(name for document in documents for name in document["rows"]):
        measured = [document["rows"][row] for document in documents if row in document["rows"]]
        for path, name in _FIGURES:
            found = [value for one in measured if (value := _at(one, path)) is not None]
            if found:
                yield f"| {row} | {name} | {median(found):g} | {min(found):g} - {max(found):g} |"


def _at(row: Mapping[str, Any], path: str) -> float | None:
    found: Any = row
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None
