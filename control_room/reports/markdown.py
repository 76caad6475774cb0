"""report.md: a verdict made readable, from the run's files alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from control_room.reports.figures import QUANTILES, Figures, figures, recovered_after
from control_room.verify.chained import document
from control_room.verify.duplicates import WORDS, Cause
from control_room.verify.durable import write_whole
from control_room.verify.files import DRAIN, REPORT, RUN
from control_room.verify.judge import check
from control_room.verify.manifest import EvidenceError
from control_room.verify.verdict import Verdict

_MEANING: Final = {
    "delivered": "acknowledged by the API, acknowledged 2xx by the merchant",
    "recovered": "no definite answer to the client, yet delivered",
    "earlier": "acknowledged again; the merchant had it before this run",
    "refused": "answered 4xx, not delivered",
    "unanswered": "no definite answer, not stored, not delivered",
    "foreign": "somebody else's; out of scope",
    "late": "not delivered at the deadline, still on its way",
    "unknown": "cannot be judged from this evidence",
    "lost": "acknowledged, never delivered",
    "phantom": "in the ledger, never sent",
    "leaked": "refused, yet delivered",
    "stranded": "no answer, stored, never delivered",
    "corrupt": "delivered bytes differ from those accepted",
    "bad-signature": "delivered with a signature that does not verify",
    "duplicated": "of all these: arrived more than once",
}


def write_report(run_dir: Path, verdict: Verdict | None = None) -> Path:
    """Writes report.md into the run's folder and returns its path.

    Args:
        verdict: as `check` gave it for this folder; it is asked for where not given.

    Raises:
        OSError: the folder cannot be written to.
    """
    found = verdict if verdict is not None else check(run_dir)
    text = "\n".join(_lines(run_dir, found)).rstrip() + "\n"
    return write_whole(run_dir / REPORT, text.encode())


def _lines(run_dir: Path, verdict: Verdict) -> Iterator[str]:
    run, drain = _readable(run_dir / RUN), _readable(run_dir / DRAIN)
    found = figures(verdict.deliveries or ())
    yield f"# Run {_text(verdict.run)}: {verdict.outcome.value.upper()}"
    yield ""
    yield f"`{verdict.arithmetic.line()}`"
    yield ""
    yield from (f"- {_text(reason)}" for reason in verdict.reasons)
    yield from (f"- Note: {_text(note)}" for note in verdict.notes)
    yield from _timeline(verdict, run, drain, found)
    yield from _faults(verdict, found)
    yield from _classes(verdict)
    yield from _duplicates(verdict)
    yield from _latency(found)
    yield from _settings(run)
    yield from _inputs(verdict)


def _readable(path: Path) -> dict[str, Any]:
    """A document for reading; empty where it is missing or damaged (the verdict says so already)."""
    try:
        return document(path) or {}
    except EvidenceError:
        return {}


def _timeline(verdict: Verdict, run: dict[str, Any], drain: dict[str, Any], found: Figures) -> Iterator[str]:
    moments: list[tuple[float, str]] = []
    started = run.get("started_at") or run.get("at")
    if isinstance(started, int | float):
        moments.append((float(started), "the run began"))
    if found.accepted_at:
        moments += [(found.accepted_at[0], "first 201"), (found.accepted_at[-1], "last new 201")]
    if found.delivered_at:
        moments += [(found.delivered_at[0], "first delivery"), (found.delivered_at[-1], "last first delivery")]
    for fault in verdict.faults:
        moments.append((fault.at, f"fault {fault.number}: {fault.name} {fault.target}"))
        if fault.healed_at:
            moments.append((fault.healed_at, f"fault {fault.number} healed"))
    gap = found.longest_gap()
    if gap is not None:
        moments.append((gap[0], f"longest time without a first delivery begins: {gap[1]:.2f} s"))
    if isinstance(drain.get("ended_at"), int | float):
        moments.append((float(drain["ended_at"]), f"drain: {drain.get('ended')}"))
    if not moments:
        return
    moments.sort(key=lambda moment: moment[0])
    begin = moments[0][0]
    yield from _heading("Timeline")
    rows = [(f"+{at - begin:.2f} s", _clock(at), what) for at, what in moments]
    yield from _table(("", "UTC", "what"), rows)


def _faults(verdict: Verdict, found: Figures) -> Iterator[str]:
    yield from _heading("Faults")
    if not verdict.faults:
        yield "None."
        return
    rows = []
    for fault in verdict.faults:
        back = recovered_after(fault, found)
        healed = "" if fault.heal_ok is None else "yes" if fault.heal_ok else "not verified"
        rows.append(
            (
                str(fault.number),
                f"{fault.name} {fault.target}",
                fault.expect,
                "verified" if fault.verified else "NOT VERIFIED",
                json.dumps(dict(fault.facts), sort_keys=True),
                healed,
                "" if back is None else f"{back:.2f} s",
            )
        )
    yield from _table(("#", "fault", "expected", "effect", "evidence", "healed", "next delivery after it"), rows)


def _classes(verdict: Verdict) -> Iterator[str]:
    yield from _heading("Classes")
    if not verdict.classes:
        yield "The evidence is too damaged to give any transaction a class."
        return
    rows = [(name, str(count), _MEANING.get(name, "")) for name, count in verdict.classes.items()]
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
    rows = [(names.get(share, f"p{share * 100:g}"), _duration(found.quantile(share))) for share in QUANTILES]
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
    """Words from files as one line of Markdown that holds no table bars, code marks or HTML of theirs."""
    flat = " ".join(words.split())
    marked = flat if flat.startswith("`") and flat.endswith("`") and flat.count("`") == 2 else flat.replace("`", "'")
    return marked.replace("|", "\\|").replace("<", "&lt;")


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "?"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
