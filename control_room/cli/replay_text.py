"""How a replay is told: its live line, its end, and its JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from control_room.replay.progress import Progress
from control_room.replay.survey import Survey


def answers(progress: Progress) -> dict[str, int]:
    """Requests by answer: statuses, and reasons where there was no definite answer."""
    counts = {"201": progress.accepted} if progress.accepted else {}
    counts.update({str(status): count for status, count in sorted(progress.refused.items())})
    counts.update(sorted(progress.unanswered.items()))
    return counts


def done(progress: Progress) -> float | None:
    """The share that is answered or given up, 0 to 1; None where nobody knows how many there will be."""
    if not progress.expected:
        return None
    return (progress.answered + progress.gave_up + progress.skipped) / progress.expected


def live_text(progress: Progress) -> str:
    """`1,234 of 5,000  812/s  ETA 0:05  201: 1,230  503: 4  p50 4 p99 31 ms`."""
    total = f" of {progress.expected:,}" if progress.expected is not None else ""
    words = [f"{progress.answered:,}{total}", f"{progress.rate_per_s:,.0f}/s"]
    if progress.eta_s is not None:
        minutes, seconds = divmod(round(progress.eta_s), 60)
        words.append(f"ETA {minutes}:{seconds:02d}")
    words += [f"{answer}: {count:,}" for answer, count in answers(progress).items()]
    if progress.duplicates:
        words.append(f"duplicates {progress.duplicates:,}")
    if progress.bad_rows:
        words.append(f"bad rows {progress.bad_rows:,}")
    words.append(f"p50 {progress.p50_s * 1000:.0f} p99 {progress.p99_s * 1000:.0f} ms")
    return "  ".join(words)


def end_sentences(progress: Progress, folder: Path) -> list[str]:
    """What a person wants to know at the end."""
    told = ", ".join(f"{answer}: {count:,}" for answer, count in answers(progress).items()) or "none"
    lines = [
        f"{progress.payments:,} payments in {progress.elapsed_s:.1f} s, {progress.rate_per_s:,.0f}/s; answers: {told}",
        f"latency p50 {progress.p50_s * 1000:.1f}, p95 {progress.p95_s * 1000:.1f}, "
        f"p99 {progress.p99_s * 1000:.1f}, max {progress.max_s * 1000:.1f} ms",
    ]
    if progress.duplicates:
        lines.append(f"{progress.duplicates:,} were known already (answered duplicate)")
    if progress.skipped:
        lines.append(f"{progress.skipped:,} were answered before and not sent again")
    if progress.bad_rows:
        shown = "".join(f"\n  {example}" for example in progress.bad_row_examples)
        lines.append(f"{progress.bad_rows:,} bad rows were not sent; all are in {folder / 'rejected.csv'}:{shown}")
    if progress.refused:
        shown = "".join(f"\n  {example}" for example in progress.refusal_examples)
        lines.append(f"{sum(progress.refused.values()):,} payments were refused:{shown}")
    if progress.gave_up:
        lines.append(f"{progress.gave_up:,} payments got no definite answer; continue: replay --resume {folder.name}")
    lines.append(f"run {folder}   next: bruce-control verify {folder.name}")
    return lines


def to_json(progress: Progress, folder: Path) -> dict[str, Any]:
    """The summary, units in the names."""
    document = dataclasses.asdict(progress)
    del document["rates_per_s"], document["p95s_s"]  # for drawing; the summary has the whole's
    document["refused"] = {str(status): count for status, count in progress.refused.items()}
    return {"run": progress.run_id, "folder": str(folder), "answers": answers(progress), **document}


def survey_sentences(found: Survey) -> list[str]:
    """What a dry run tells."""
    lines = [f"{found.payments:,} payments would be sent, {found.bad_rows:,} bad rows would not"]
    lines += [f"  line {row.line}: {'; '.join(row.reasons)}" for row in found.bad_row_examples]
    if found.ignored_columns:
        lines.append(f"columns that are not sent: {', '.join(found.ignored_columns)}")
    if found.scheduled_s is not None:
        lines.append(f"the last one would leave {found.scheduled_s:.1f} s after the first")
    if found.first is not None:
        lines.append(f"first: {found.first.body.decode()}")
    return lines


def survey_json(found: Survey) -> dict[str, Any]:
    """The same as JSON types."""
    return {
        "payments": found.payments,
        "bad_rows": found.bad_rows,
        "bad_row_examples": [{"line": row.line, "reasons": list(row.reasons)} for row in found.bad_row_examples],
        "ignored_columns": list(found.ignored_columns),
        "scheduled_s": found.scheduled_s,
        "first": found.first.body.decode() if found.first is not None else None,
    }
