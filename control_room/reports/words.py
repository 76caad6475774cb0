"""How reports word times and lengths of time."""

from __future__ import annotations

from datetime import UTC, datetime


def clock(at: float) -> str:
    """A Unix time as `13:59:30.064`, UTC; `?` where it is none."""
    return _moment(at, "%H:%M:%S.%f")[:-3] or "?"


def date(at: float) -> str:
    """A Unix time as `2026-11-25 13:59:30 UTC`; empty where it is none."""
    return _moment(at, "%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """A Unix time as `2026-11-25T13:59:30`; empty where it is none."""
    return _moment(at, "%Y-%m-%dT%H:%M:%S")


def _moment(at: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return ""


def duration(seconds: float | None) -> str:
    """`41.2 ms`, `3.08 s`, `14 min 05 s`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 600:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
