"""How the proxy is told what to do: one JSON object per line over a unix socket, one answer per line.

`{"ask": "state"}`; `{"ask": "set", "doors": [NAME, …], "mode": {"mode": "slow", "latency_ms": 200}}`. An answer is the
state, or `{"error": SENTENCE}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from control_room.stack.links.door import Door
from control_room.stack.links.modes import ModeError, parse

log = logging.getLogger(__name__)
_LINE_BYTES: Final = 64 * 1024


class AskedError(ValueError):
    """A request that cannot be carried out. The message says why."""


class Control:
    """Answers requests about `doors`.

    Args:
        doors: by name.
        modes_file: where the modes are kept, so that a proxy that crashed and came back goes on as it was told.
    """

    def __init__(self, doors: Mapping[str, Door], modes_file: Path) -> None:
        self._doors = doors
        self._modes_file = modes_file
        self._started_at_s = time.time()

    def restore(self) -> None:
        """Takes up the modes that were kept.

        Failure policy: open. A file that cannot be read leaves every door passing, and says so.
        """
        try:
            kept = json.loads(self._modes_file.read_text(encoding="utf-8"))
            for name, mode in kept.items():
                self._doors[name].set(parse(mode))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, AttributeError) as error:
            log.warning("the kept modes cannot be used: %s", error)

    async def serve(self, at: Path | tuple[str, int]) -> asyncio.AbstractServer:
        """Begins to listen at a socket's path, where nothing may be left of an earlier one, or at a host and a port."""
        if isinstance(at, Path):
            return await asyncio.start_unix_server(self._talk, at, limit=_LINE_BYTES)
        return await asyncio.start_server(self._talk, *at, limit=_LINE_BYTES)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    answer: dict[str, Any] = {"error": f"a request is one line of at most {_LINE_BYTES} bytes"}
                    line = b""
                else:
                    if not line:
                        return
                    answer = self.answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
                if not line:
                    return
        except ConnectionError:
            return
        finally:
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request."""
        try:
            return self._carry_out(line)
        except (AskedError, ModeError) as error:
            return {"error": str(error)}

    def _carry_out(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError as error:
            raise AskedError(f"a request is a JSON object: {error}") from error
        ask = request.get("ask") if isinstance(request, dict) else None
        if ask == "set":
            self._set(request)
        elif ask != "state":
            raise AskedError('a request asks for "state" or to "set"')
        return self._state()

    def _set(self, request: Mapping[str, Any]) -> None:
        names, mode = request.get("doors"), request.get("mode")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise AskedError("`doors` must be a list of names")
        if unknown := [name for name in names if name not in self._doors]:
            raise AskedError(f"there is no door {', '.join(unknown)}; there are {', '.join(self._doors)}")
        if not isinstance(mode, dict):
            raise AskedError("`mode` must be an object")
        wanted = parse(mode)
        for name in names:
            try:
                self._doors[name].set(wanted)
            except OSError as error:
                port = self._doors[name].port
                raise AskedError(f"port {port} ({name}) cannot be listened on: {error.strerror}") from error
            finally:
                self._keep()
        log.info("doors=%s %s", ",".join(names), wanted.words())

    def _keep(self) -> None:
        fresh = self._modes_file.with_name(f".{self._modes_file.name}")
        fresh.write_text(json.dumps({name: door.mode.to_json() for name, door in self._doors.items()}))
        fresh.replace(self._modes_file)

    def _state(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024
        return {
            "pid": os.getpid(),
            "started_at": self._started_at_s,
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "peak_memory_bytes": used.ru_maxrss * unit,
            "doors": {name: door.state() for name, door in self._doors.items()},
        }
