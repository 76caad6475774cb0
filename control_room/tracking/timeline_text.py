"""A timeline as lines of text, for a terminal."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from control_room.tracking.text import harmless

if TYPE_CHECKING:  # only drawn here
    from control_room.tracking.timeline import Timeline, TimelineEvent

_KIND_WIDTH = 12
_WHO_WIDTH = 16
_GAP_COLUMN = 66
_SHOWN_GAP_MS = 600_000


def render(story: Timeline, zone: tzinfo | None = None) -> list[str]:
    """The story, one line per event: `12:03:10.131 published    ingestion-api-2  p1 @4411    +8 ms`.

    Args:
        story: what to show.
        zone: the zone of the clock times; the machine's own where not given.
    """
    row = story.row
    lines = [harmless(story.transaction_id + (f"  {row.state}" if row else ""))]
    day = ""
    for event in story.events:
        moment = datetime.fromtimestamp(event.at_s, zone).astimezone(zone)
        if moment.date().isoformat() != day:
            day = moment.date().isoformat()
            lines.append(f"{day} {moment.strftime('%Z') or moment.strftime('%z')}")
        lines.append(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {_words(event)}")
    return lines + [f"note: {harmless(note)}" for note in story.notes]


def _words(event: TimelineEvent) -> str:
    if event.kind == "fault":
        return f"! {harmless(event.what)}"
    kind = event.kind
    if kind == "attempt":
        kind = f"attempt {event.facts.get('round', '?')}.{event.facts.get('attempt', '?')}"
    text = f"{harmless(kind):<{_KIND_WIDTH}} {harmless(event.who):<{_WHO_WIDTH}} {harmless(event.what)}"
    return f"{text:<{_GAP_COLUMN}} {_gap(event.gap_ms)}".rstrip()


def _gap(gap_ms: float | None) -> str:
    if gap_ms is None:
        return ""
    if abs(gap_ms) < 1000:
        return f"{gap_ms:+.0f} ms"
    return f"{gap_ms / 1000:+.1f} s" if gap_ms < _SHOWN_GAP_MS else f"{gap_ms / 60_000:+.0f} min"
