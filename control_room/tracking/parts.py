"""Parts of a snapshot, each from one source, gathered side by side: a dead source costs its own figures, no others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Source = Callable[[], Any]
"""Reads one source, and takes care of its own time-out."""


class SourceError(RuntimeError):
    """A source did not tell. The message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """What one source told, or why it did not."""

    value: T | None
    """None where the source never told anything."""
    error: str = ""
    """Why the source did not tell just now; empty where it did."""
    age_s: float = 0.0
    """How old `value` is: 0 where it was read for this snapshot."""

    @property
    def ok(self) -> bool:
        """Whether there is a value, and the source goes on answering."""
        return self.value is not None and not self.error

    def to_json(self) -> dict[str, Any]:
        """`{"value", "error", "age_s"}`, the value through its own `to_json` where it has one."""
        return {"value": jsonable(self.value), "error": self.error or None, "age_s": round(self.age_s, 3)}


def jsonable(value: Any) -> Any:
    """`value` as JSON types: objects through their `to_json`, lists and mappings item by item."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    return value


def gather(sources: Mapping[str, Source], deadline_s: float) -> dict[str, Part[Any]]:
    """One part per source, all read at the same time, none waited for longer than `deadline_s`.

    Failure policy: open. A source that raises or hangs becomes a part with an error; its thread is left behind (a
    daemon, so that it holds up neither the caller nor the end of the program).
    """
    started_s = time.monotonic()
    found: dict[str, Part[Any]] = {}
    threads = [
        threading.Thread(target=_read, args=(name, source, found), name=f"read-{name}", daemon=True)
        for name, source in sources.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - (time.monotonic() - started_s)))
    late: Part[Any] = Part(None, f"did not answer within {deadline_s:g} s")
    return {name: found.get(name, late) for name in sources}


def _read(name: str, source: Source, found: dict[str, Part[Any]]) -> None:
    try:
        found[name] = Part(source())
    except Exception as error:  # noqa: BLE001 - any failure of a source is that source's part, never the snapshot's
        found[name] = Part(None, first_line(error))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
