"""An API that takes everything: what a client costs is measured against it, with no stack beside it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
from multiprocessing.connection import Connection
from typing import Final, cast

import httptools
import uvloop

_ID: Final = re.compile(rb'"Transaction ID": ?"([^"]+)"')
_HEAD: Final = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Served-By: taker\r\nContent-Length: %d\r\n\r\n"
)
_ONE: Final = b'{"message": "Event accepted", "transaction_id": "%s", "duplicate": false}'
_STOP_S: Final = 10.0


class Taker:
    """The API, a process of its own; a context manager."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs,), daemon=True)
        self.url = ""

    def __enter__(self) -> Taker:
        """Returns when it listens, at `url`. Raises OSError where it cannot."""
        self._process.start()
        told = self._pipe.recv()
        if isinstance(told, str):
            raise OSError(told)
        self.url = f"http://127.0.0.1:{told}"
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join(_STOP_S)


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []
        self._url = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
        self._parts.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        ids = _ID.findall(b"".join(self._parts))
        body = answer(ids, in_batch=self._url.endswith(b"/batch"))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD % len(body) + body)


def answer(ids: list[bytes], *, in_batch: bool) -> bytes:
    """What the API says where it has accepted all of `ids`."""
    if not in_batch:
        return _ONE % (ids[0] if ids else b"")
    results = [{"status": 201, "transaction_id": id_.decode(), "duplicate": False} for id_ in ids]
    return json.dumps({"results": results}).encode()


def _main(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it in order
    uvloop.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(_Caller, "127.0.0.1", 0, backlog=1024)
    except OSError as error:
        pipe.send(f"no port can be listened on: {os.strerror(error.errno or 0)}")
        return
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, _until_the_end, pipe)
    server.close()


def _until_the_end(pipe: Connection) -> None:
    try:
        pipe.recv()
    except EOFError:
        return  # the parent is gone
