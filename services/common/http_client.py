"""HTTP/1.1 POST over kept-alive connections: asyncio below, httptools for what comes back, nothing else.

aiohttp's client took 2.7 times the CPU for a delivery, and more than a quarter of what the whole pipeline takes for an
event that comes in bulk (docs/performance.md). libcurl would be a library, but it repeats a POST by itself where a kept
connection turns out to be dead. This knows what a webhook needs, or a payment that is sent to the API: no redirects, no
proxies, no cookies, no compression, and of an answer little more than its status.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import httptools
from yarl import URL

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer's body no more is read where it is not kept: the status is all that counts then, the rest only frees the
connection."""
MAX_HEAD_BYTES: Final = 32 * 1024
"""Of everything before the body, answers that announce another one (1xx) included."""
_SERVED_BY: Final = b"x-served-by"
KEEP_ALIVE_S: Final = 15.0
"""An idle connection is closed before common servers and balancers close it (60-75 s) under our hands."""
_LOOK_S: Final = 0.1
"""So much later than its time a request may end that has no answer."""


class NoAnswerError(Exception):
    """There is no status. `why`: `timeout`, `refused`, `reset`, `dns`, `tls`, `malformed` or the fault's name."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Reply(NamedTuple):
    """What matters of an answer."""

    status: int
    retry_after: str | None
    served_by: str = ""
    """Who says that it answered; told where bodies are kept."""
    body: bytes = b""
    """As much of it as is kept."""


class HttpClient:
    """POSTs to one URL. Belongs to one event loop; how many requests are under way is its caller's business."""

    def __init__(
        self, url: str, *, timeout_s: float, keep_bytes: int = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        """Must be made inside the running loop.

        Args:
            url: where everything goes.
            timeout_s: for one request, from connecting to the end of its answer.
            keep_bytes: how much of an answer's body is kept. Where any is, an answer that does not come to its end, or
                to so many bytes, is none: what it says counts, not its status alone.
            headers: what every request carries, besides its own.

        Raises:
            NoAnswerError: one of `headers` would be two.
        """
        parsed = URL(url)
        self._keep_bytes = keep_bytes
        self._host, self._port = parsed.raw_host or "", parsed.port or 80
        self._tls = ssl.create_default_context() if parsed.scheme == "https" else None
        authority = parsed.host_port_subcomponent or self._host
        self._begin = f"POST {parsed.raw_path_qs} HTTP/1.1\r\nHost: {authority}\r\n{_lines(headers or {})}"
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._look_s = min(_LOOK_S, timeout_s / 4)
        self._looking: asyncio.TimerHandle | None = None
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def idle_connections(self) -> int:
        """Connections that the next request may use."""
        return sum(not connection.closed for connection in self._idle)

    async def post(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request, never repeated here: the merchant may have read it.

        Raises:
            NoAnswerError: no status came in time. A status that came decides, whatever becomes of the body after it.
        """
        request = self._head(headers, len(body)) + body
        until_s = self._loop.time() + self._timeout_s
        connection = self._take() or await self._connect(until_s)
        if self._looking is None:
            self._looking = self._loop.call_later(self._look_s, self._look)
        try:
            return await connection.exchange(request, until_s)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Closes every connection; requests under way end without an answer."""
        for timer in (self._sweeping, self._looking):
            if timer is not None:
                timer.cancel()
        for connection in list(self._open):
            connection.close()

    def _head(self, headers: Mapping[str, str], length: int) -> bytes:
        return f"{self._begin}{_lines(headers)}Content-Length: {length}\r\n\r\n".encode()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def _give_back(self, connection: _Connection) -> None:
        connection.forget()
        if not connection.reusable:
            connection.close()
            return
        connection.idle_since_s = self._loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEP_ALIVE_S, self._sweep)

    def _sweep(self) -> None:
        """Closes what has been idle for too long: the connection used last is taken first, so it is the oldest."""
        self._sweeping = None
        now_s = self._loop.time()
        while self._idle and (self._idle[0].closed or now_s - self._idle[0].idle_since_s >= KEEP_ALIVE_S):
            self._idle.popleft().close()
        if self._idle:
            due_s = self._idle[0].idle_since_s + KEEP_ALIVE_S
            self._sweeping = self._loop.call_at(due_s, self._sweep)

    def _look(self) -> None:
        """Ends what has taken too long. One timer for all: one for each request takes as long as signing it."""
        now_s, under_way = self._loop.time(), False
        for connection in list(self._open):
            under_way = connection.expire(now_s) or under_way
        self._looking = self._loop.call_later(self._look_s, self._look) if under_way else None

    async def _connect(self, until_s: float) -> _Connection:
        try:
            async with asyncio.timeout_at(until_s):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self._loop, self._open, self._keep_bytes), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:  # ours, or the kernel's
            raise NoAnswerError("timeout") from error
        except (OSError, ValueError) as error:
            raise NoAnswerError(_name(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: set[_Connection], keep_bytes: int) -> None:
        self._loop = loop
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[Reply] | None = None
        self._until_s = 0.0
        self._head_bytes = self._body_bytes = 0
        self._retry_after: str | None = None
        self._keep_bytes = keep_bytes
        self._parts: list[bytes] = []
        self._served_by = ""
        self.reply: Reply | None = None
        """Of the exchange under way, as soon as its head is whole."""
        self.closed = False
        self.reusable = False
        self.idle_since_s = 0.0

    def exchange(self, request: bytes, until_s: float) -> asyncio.Future[Reply]:
        """Sends `request`; its answer, or NoAnswerError: one of those is no answer by `until_s` on the loop's clock."""
        self._answered = self._loop.create_future()
        self.reply, self._retry_after, self.reusable = None, None, False
        self._head_bytes = self._body_bytes = 0
        if self._keep_bytes:
            self._parts, self._served_by = [], ""
        if self.closed or self._transport is None:
            self._answered.set_exception(NoAnswerError("reset"))
        else:
            self._until_s = until_s
            self._transport.write(request)
        return self._answered

    def expire(self, now_s: float) -> bool:
        """Ends the exchange under way where its time is over; whether one is still under way."""
        if self._answered is None or self._answered.done():
            return False
        if now_s >= self._until_s:
            self._end("timeout")
            return False
        return True

    def forget(self) -> None:
        """The exchange is over and told: its answer is the caller's.

        One that failed holds, by its traceback, the caller's frames, and those hold this: a circle for the search for
        garbage, which these processes make rarely.
        """
        self._answered = None

    def close(self) -> None:
        """At once: nothing that comes now is of interest."""
        self.closed, self.reusable = True, False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it is connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        if self._answered is None or self._answered.done():
            self.close()  # nobody asked: whatever it is, the next answer must not begin with it
            return
        if self.reply is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end("malformed")
            return
        if self.reply is None and self._head_bytes > MAX_HEAD_BYTES:
            self._end("malformed")

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it is gone."""
        self.closed = True
        self._registry.discard(self)
        self._end("tls" if isinstance(error, ssl.SSLError) else "reset")
        del self._parser  # the two hold each other, see `forget`; nothing comes any more

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        name = name.lower()
        if name == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif self._keep_bytes and name == _SERVED_BY:
            self._served_by = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools: the head is whole."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.reply = Reply(status, self._retry_after)

    def on_body(self, part: bytes) -> None:
        """httptools: a part of the body."""
        self._body_bytes += len(part)
        if self._keep_bytes:
            self._parts.append(part)
            if self._body_bytes >= self._keep_bytes:
                self._answer(reusable=False)
                self.close()
        elif self._body_bytes > MAX_ANSWER_BYTES:
            self._end("")

    def on_message_complete(self) -> None:
        """httptools: an answer is over; one below 200 only announces another."""
        if self.reply is None or self._answered is None or self._answered.done():
            return
        self._answer(reusable=not self.closed and self._parser.should_keep_alive())

    def _answer(self, *, reusable: bool) -> None:
        if self.reply is None or self._answered is None or self._answered.done():
            return
        self.reusable = reusable
        if self._keep_bytes:
            self.reply = self.reply._replace(served_by=self._served_by, body=b"".join(self._parts)[: self._keep_bytes])
        self._answered.set_result(self.reply)

    def _end(self, why: str) -> None:
        """The exchange is over with the connection: a status that is there decides, else there is none and `why`."""
        if self._answered is not None and not self._answered.done():
            if self.reply is not None and not self._keep_bytes:
                self._answered.set_result(self.reply)
            else:
                self._answered.set_exception(NoAnswerError(why))
        self.close()


def _lines(headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
        raise NoAnswerError("malformed header")  # one that would be two: never sent
    return lines


def _name(error: Exception) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "dns"
    if isinstance(error, ssl.SSLError):
        return "tls"
    # Several addresses that failed are told as one error that holds their texts.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset"
    return type(error).__name__
