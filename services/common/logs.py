"""Logs: one line per event on stdout, JSON or plain text, the same words in both.

A message is written with its fields inside (`"… tid=%s attempt=%d/%d"`), so that an operator's grep works on either
form; `extra={…}` adds fields that the JSON form carries beside it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`{"ts", "level", "member", "logger", "message", …extra, "error"}` on one line, non-ASCII letters as they are."""

    def __init__(self, member: str) -> None:
        super().__init__()
        self._member = member

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`; an exception's text goes into `error`, never over several lines."""
        line: dict[str, Any] = {
            "ts": _utc(record.created),
            "level": record.levelname.lower(),
            "member": self._member,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode("utf-8", "replace")
        except orjson.JSONEncodeError:  # a lone surrogate or an integer beyond 64 bits, both from outside
            return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """`2026-01-31T10:00:00.123Z INFO    dispatcher: words`."""

    def __init__(self, member: str) -> None:
        super().__init__()
        self._member = member

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`, control characters from outside made harmless."""
        text = f"{_utc(record.created)} {record.levelname:<7} {self._member}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return "".join(ch if ch.isprintable() or ch == "\n" else f"\\x{ord(ch):02x}" for ch in text)


def _utc(created_s: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(created_s))}.{int(created_s * 1000) % 1000:03d}Z"


def setup(member: str, log_format: str, level: str) -> None:
    """Sends every logger's records to stdout, each flushed as it is written.

    Args:
        member: the process's name, on every line.
        log_format: `json` or `plain`.
        level: a standard level name.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(member) if log_format == "json" else PlainFormatter(member))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # None of these is read by our formatters; gathering them costs a system call or a stack walk per line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
