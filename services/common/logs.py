"""Logs: one line per event on stdout, JSON or plain text, the same words in both.

A message is written with its fields inside (`"… tid=%s attempt=%d/%d"`), so that an operator's grep works on either
form; `extra={…}` adds fields that the JSON form carries beside it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import Any, Final, TextIO

import orjson

GATHER_S: Final = 0.05
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Record(logging.LogRecord):
    """A record without what no formatter of ours reads: where in the code it was made, by which thread and process.

    That is half of what the library's takes to make, and a line is written for each delivery.
    """

    pathname = filename = module = funcName = processName = threadName = ""  # noqa: N815  # the library's names
    lineno = 0
    thread = process = taskName = None  # noqa: N815
    msecs = relativeCreated = 0.0  # noqa: N815

    def __init__(  # the library's own arguments, of which it calls the record with all
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
    ) -> None:
        del pathname, lineno, func
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.msg = msg
        one_mapping = len(args) == 1 and isinstance(args[0], Mapping) and args[0] if args else False
        self.args = args[0] if one_mapping else args
        self.exc_info, self.exc_text, self.stack_info = exc_info, None, sinfo
        self.created = time.time()


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


class GatheringHandler(logging.Handler):
    """Writes what came within GATHER_S in one go; from a warning on, everything at once.

    A line per delivery, each written by itself, costs the service a system call and whoever reads the pipe a wake-up:
    together half as much as the delivery's own HTTP request. A process that is killed loses its last few lines of
    information, never a warning; one that ends in order loses none.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._some = threading.Event()
        threading.Thread(target=self._write_for_ever, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record."""
        try:
            self._lines.append(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # what logging's own handlers do: a log line never breaks the service
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Everything is written when this returns."""
        with self.lock or nullcontext():
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()

    def _write_for_ever(self) -> None:
        while True:
            self._some.wait()
            time.sleep(GATHER_S)
            self._some.clear()
            with suppress(OSError, ValueError):  # nobody reads any more, or the stream was closed
                self.flush()


@lru_cache(maxsize=2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _utc(created_s: float) -> str:
    return f"{_utc_second(int(created_s))}.{int(created_s * 1000) % 1000:03d}Z"


def setup(member: str, log_format: str, level: str) -> None:
    """Sends every logger's records to stdout, within GATHER_S.

    Args:
        member: the process's name, on every line.
        log_format: `json` or `plain`.
        level: a standard level name.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = GatheringHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(member) if log_format == "json" else PlainFormatter(member))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # None of these is read by our formatters; gathering them costs a system call or a stack walk per line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.setLogRecordFactory(_Record)
