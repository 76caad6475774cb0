"""The receiver: a process that answers every webhook as told, and remembers when each came."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import signal
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
import uvloop

from bench.load import Attempt, Behaviour

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

_ID: Final = re.compile(rb'"Transaction ID": ?"([^"]+)"')
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
_STOP_S: Final = 20.0


class Receiver:
    """The receiver, seen from outside; a context manager. One measurement: `begin`, the load, `collect`."""

    def __init__(self, port: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._delivered: Synchronized[int] = self._context.Value("q", 0)
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_main, args=(port, self._delivered, theirs), daemon=True)
        self.url = f"http://127.0.0.1:{port}/"

    def __enter__(self) -> Receiver:
        """Returns when it listens. Raises OSError where the port is taken."""
        self._process.start()
        refused = self._pipe.recv()
        if refused:
            raise OSError(refused)
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join(_STOP_S)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process.pid is not None, "use it as a context manager"  # noqa: S101 - a fault of the caller
        return self._process.pid

    @property
    def delivered(self) -> int:
        """Requests answered 200 since `begin`, those of one event counted each."""
        return self._delivered.value

    def begin(self, behaviour: Behaviour) -> None:
        """Forgets what came before, and answers so from now on."""
        self._pipe.send(behaviour)
        self._pipe.recv()

    def collect(self) -> list[Attempt]:
        """Every request since `begin`, in order."""
        self._pipe.send("collect")
        found: list[Attempt] = self._pipe.recv()
        return found


class _State:
    """What all connections share."""

    def __init__(self, delivered: Synchronized[int]) -> None:
        self.attempts: list[Attempt] = []
        self.behaviour = Behaviour()
        self.delivered = delivered.get_obj()  # this process is its only writer while a measurement runs
        self.random = random.Random()  # noqa: S311 - which requests fail is chance, not a secret

    def fate(self) -> bool | None:
        """Whether the next request succeeds; None where it is never answered."""
        behaviour = self.behaviour
        if not (behaviour.failing or behaviour.hanging):
            return True
        drawn = self.random.random()
        if drawn < behaviour.hanging:
            return None
        return drawn >= behaviour.hanging + behaviour.failing


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._parts: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        found = _ID.search(b"".join(self._parts))
        self._parts.clear()
        ok = self._state.fate()
        self._state.attempts.append(Attempt(found[1].decode() if found else "", time.monotonic(), ok is True))
        if ok:
            self._state.delivered.value += 1
        if ok is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(_OK if ok else _FAILED)


def _main(port: int, delivered: Synchronized[int], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it in order
    uvloop.run(_serve(port, _State(delivered), pipe))


async def _serve(port: int, state: _State, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Caller(state), "127.0.0.1", port, backlog=1024)
    except OSError as error:
        pipe.send(f"port {port} cannot be listened on: {os.strerror(error.errno or 0)}")
        return
    pipe.send("")
    # Waited for in a thread: as a reader of the loop the pipe would not block, and a long list does not fit into it.
    while (message := await loop.run_in_executor(None, _told, pipe)) is not None:
        if message == "collect":
            await loop.run_in_executor(None, pipe.send, list(state.attempts))
        else:
            state.attempts, state.behaviour, state.delivered.value = [], message, 0
            pipe.send("begun")
    server.close()


def _told(pipe: Connection) -> Any:
    """What the parent asks for; None where it wants the end, or is gone."""
    try:
        return pipe.recv()
    except EOFError:
        return None
