"""report.md: a verdict made readable, from the run's files alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from control_room.reports.contents import Contents
from control_room.reports.figures import QUANTILES, Figures
from control_room.reports.meanings import MEANING
from control_room.reports.words import clock, duration
from control_room.tracking.text import harmless
from control_room.verify.duplicates import WORDS, Cause
from control_room.verify.durable import write_whole
from control_room.verify.files import REPORT
from control_room.verify.verdict import Verdict

_CELL_CHARS: Final = 2000


def write_markdown(run_dir: Path, contents: Contents) -> Path:
    """Writes report.md into the run's folder and returns its path. Raises OSError where that cannot be."""
    text = "\n".join(_lines(contents)).rstrip() + "\n"
    return write_whole(run_dir / REPORT, text.encode("utf-8", "backslashreplace"))


def _lines(contents: Contents) -> Iterator[str]:
    verdict, found = contents.verdict, contents.figures
    yield f"# Run {_text(verdict.run)}: {verdict.outcome.value.upper()}"
    yield ""
    yield f"`{verdict.arithmetic.line()}`"
    yield ""
    yield from (f"- {_text(reason)}" for reason in verdict.reasons)
    yield from (f"- Note: {_text(note)}" for note in verdict.notes)
    yield from _timeline(contents)
    yield from _faults(contents)
    yield from _classes(verdict)
    yield from _duplicates(verdict)
    yield from _latency(found)
    yield from _settings(contents.run)
    yield from _inputs(verdict)


def _timeline(contents: Contents) -> Iterator[str]:
    found = contents.figures
    moments: list[tuple[float, str]] = []
    if contents.started_at:
        moments.append((contents.started_at, "the run began"))
    if found.accepted_at:
        moments += [(found.accepted_at[0], "first 201"), (found.accepted_at[-1], "last new 201")]
    if found.delivered_at:
        moments += [(found.delivered_at[0], "first delivery"), (found.delivered_at[-1], "last first delivery")]
    for fault in contents.verdict.faults:
        moments.append((fault.at, f"fault {fault.number}: {fault.name} {fault.target}"))
        if fault.healed_at:
            moments.append((fault.healed_at, f"fault {fault.number} healed"))
    gap = found.longest_gap()
    if gap is not None:
        moments.append((gap[0], f"longest time without a first delivery begins: {gap[1]:.2f} s"))
    if contents.drained_at:
        moments.append((contents.drained_at, f"drain: {contents.drain.get('ended')}"))
    if not moments:
        return
    moments.sort(key=lambda moment: moment[0])
    begin = moments[0][0]
    yield from _heading("Timeline")
    rows = [(f"+{at - begin:.2f} s", clock(at), what) for at, what in moments]
    yield from _table(("", "UTC", "what"), rows)


def _faults(contents: Contents) -> Iterator[str]:
    yield from _heading("Faults")
    if not contents.verdict.faults:
        yield "None."
        return
    rows = []
    for recovery in contents.recoveries():
        fault = recovery.fault
        rows.append(
            (
                str(fault.number),
                f"{fault.name} {fault.target}",
                fault.expect,
                "verified" if fault.verified else "NOT VERIFIED",
                json.dumps(dict(fault.facts), sort_keys=True),
                "" if fault.heal_ok is None else "yes" if fault.heal_ok else "not verified",
                duration(recovery.first_delivery_s),
                f"{recovery.level} → {recovery.peak}",
                duration(recovery.drained_s) or "never",
            )
        )
    head = ("#", "fault", "expected", "effect", "evidence", "healed")
    yield from _table((*head, "next delivery after it", "backlog", "backlog back after"), rows)
    yield from _merchant_loads(contents)


def _merchant_loads(contents: Contents) -> Iterator[str]:
    loads = contents.merchant_loads()
    if not loads:
        return
    yield ""
    yield "Requests at the merchant, from its ledger; while the fault was on: in its latter half:"
    yield ""
    rows = [
        (
            str(load.fault.number),
            f"{load.during_per_s:.1f}",
            ", ".join(map(str, load.first_seconds)),
            f"{load.highest_per_s:.0f}",
            duration(load.nearly_after_s) or "never",
        )
        for load in loads
    ]
    seconds = f"in each of the first {len(loads[0].first_seconds)} s after it"
    yield from _table(
        ("#", "while it was on, per s", seconds, "highest rate after it, per s", "90 % of that after"), rows
    )


def _classes(verdict: Verdict) -> Iterator[str]:
    yield from _heading("Classes")
    if not verdict.classes:
        yield "The evidence is too damaged to give any transaction a class."
        return
    rows = [(name, str(count), MEANING.get(name, "")) for name, count in verdict.classes.items()]
    yield from _table(("class", "ids", "meaning"), rows)
    for name, ids in verdict.examples.items():
        yield ""
        yield f"Of {name}:"
        yield ""
        for transaction_id in ids:
            why = verdict.why.get(transaction_id, "")
            yield f"- `{_text(transaction_id)}`{': ' + _text(why) if why else ''}"


def _duplicates(verdict: Verdict) -> Iterator[str]:
    yield from _heading("Duplicates by cause")
    if not verdict.duplicates:
        yield "None."
        return
    rows = [(WORDS[Cause(cause)], str(count)) for cause, count in sorted(verdict.duplicates.items())]
    yield from _table(("cause", "deliveries beyond the first"), rows)


def _latency(found: Figures) -> Iterator[str]:
    yield from _heading("Latency: accepted to first 2xx")
    if not found.latencies_s:
        yield "Nothing was accepted and delivered."
        return
    names = {1.0: "max"}
    rows = [(names.get(share, f"p{share * 100:g}"), duration(found.quantile(share))) for share in QUANTILES]
    yield from _table(("", "time"), rows)
    yield ""
    yield (
        f"{len(found.latencies_s)} deliveries, {found.attempts} attempts; {found.requeued} transactions took more than "
        f"one round (the most: {found.most_rounds})."
    )


def _settings(run: dict[str, Any]) -> Iterator[str]:
    yield from _heading("Run and settings")
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, sort_keys=True)) for name, value in run.items()
    ]
    yield from _table(("key", "value"), rows)


def _inputs(verdict: Verdict) -> Iterator[str]:
    yield from _heading("Evidence")
    if not verdict.inputs:
        yield "No manifest: the evidence was never completed."
        return
    yield from _table(("file", "SHA-256"), [(name, f"`{sha}`") for name, sha in verdict.inputs.items()])
    yield ""
    yield "`bruce-control check RUN_DIR` gives this verdict again from these files."


def _heading(words: str) -> Iterator[str]:
    yield ""
    yield f"## {words}"
    yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(_text(cell) for cell in row) + " |"


def _text(words: str) -> str:
    """Words from files as one line of Markdown that holds no table bars, code marks, links or HTML of theirs."""
    flat = harmless(" ".join(words.split()), _CELL_CHARS)
    marked = flat if flat.startswith("`") and flat.endswith("`") and flat.count("`") == 2 else flat.replace("`", "'")
    return marked.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
