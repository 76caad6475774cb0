"""A door: a port that one client group dials, and the server behind it."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from control_room.stack.links.connection import Connection
from control_room.stack.links.modes import Kind, Mode

log = logging.getLogger(__name__)
HOST: Final = "127.0.0.1"
"""Where everything listens and is reached, unless a door is told otherwise."""
_NOBODY: Final = (ConnectionRefusedError, socket.gaierror)
"""What dialling says where no server is there: nobody listens, or (among containers) its very name is gone."""
_BACKLOG: Final = 512
_ACCEPTS_AT_ONCE: Final = 64
_DIAL_S: Final = 10.0
_LOOK_FOR_SERVER_S: Final = 0.1
_NO_ROOM_WAIT_S: Final = 0.1
"""Out of descriptors: so long until the next try."""


@dataclass(slots=True)
class Delays:
    """How late what was late has been."""

    count: int = 0
    total_s: float = 0.0
    least_s: float = 0.0
    most_s: float = 0.0

    def see(self, late_s: float) -> None:
        """Takes one piece that has left."""
        self.least_s = late_s if self.count == 0 else min(self.least_s, late_s)
        self.most_s = max(self.most_s, late_s)
        self.total_s += late_s
        self.count += 1

    def to_json(self) -> dict[str, Any]:
        """As JSON types, in milliseconds."""
        mean_s = self.total_s / self.count if self.count else 0.0
        return {
            "pieces": self.count,
            "least_ms": round(self.least_s * 1000, 2),
            "mean_ms": round(mean_s * 1000, 2),
            "most_ms": round(self.most_s * 1000, 2),
        }


@dataclass(eq=False)
class Door:
    """One door. Everything is called on the event loop.

    Args:
        name: such as `dispatcher:postgres`.
        port: where it listens.
        server_port: where what comes in goes to.
        server_host: the same, where it is not on this machine.
        listen_host: where it listens.
    """

    name: str
    port: int
    server_port: int
    server_host: str = HOST
    listen_host: str = HOST
    mode: Mode = field(default_factory=Mode)
    total: int = 0
    """Connections taken since the start."""
    dial_failures: int = 0
    """Connections that were reset because the server was not there."""
    bytes_up: int = 0
    bytes_down: int = 0
    accepted: int = 0
    """This and the following: since the door has its mode."""
    resets: int = 0
    up_since: int = 0
    down_since: int = 0
    delays: Delays = field(default_factory=Delays)
    _since_s: float = field(default_factory=time.monotonic)
    _listener: socket.socket | None = None
    _accepting: bool = False
    _connections: set[Connection] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _absent: bool = False
    """Whether the server refused: then the door does too, until it is back."""
    _left_waiting: bool = False
    """Whether connections may wait that were made while the door was silent."""

    @property
    def silent(self) -> bool:
        """Whether nothing may go through or be told."""
        return self.mode.kind is Kind.SILENCE

    def open(self) -> None:
        """Begins to listen. Raises OSError where the port is taken."""
        self._follow_mode()

    def set(self, mode: Mode) -> None:
        """Takes a mode; it is in force when this returns. Raises OSError: the port was taken by somebody meanwhile."""
        self._left_waiting = self._left_waiting or self.silent
        self.mode = mode
        self.accepted = self.resets = self.up_since = self.down_since = 0
        self.delays = Delays()
        self._since_s = time.monotonic()
        for connection in tuple(self._connections):
            if mode.kind is Kind.REFUSE:
                self.resets += 1
                connection.reset()
            else:
                connection.mode_changed()
        self._follow_mode()

    def close(self) -> None:
        """Ends everything."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self._connections):
            connection.reset()

    def passed(self, count: int, *, up: bool) -> None:
        """Counts bytes that are on their way to the server (`up`) or the client."""
        if up:
            self.bytes_up += count
            self.up_since += count
        else:
            self.bytes_down += count
            self.down_since += count

    def forget(self, connection: Connection) -> None:
        """A connection that is over."""
        self._connections.discard(connection)

    def state(self) -> dict[str, Any]:
        """What is known of it, as JSON types."""
        return {
            "port": self.port,
            "to": self.server_port,
            **self.mode.to_json(),
            "for_s": round(time.monotonic() - self._since_s, 3),
            "open": len(self._connections),
            "total": self.total,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "dial_failures": self.dial_failures,
            "held_bytes": sum(connection.held_bytes for connection in self._connections),
            "since": {
                "accepted": self.accepted,
                "resets": self.resets,
                "bytes_up": self.up_since,
                "bytes_down": self.down_since,
                "late": self.delays.to_json(),
            },
        }

    def _follow_mode(self) -> None:
        """Listens unless it or its server refuses; while it is silent the kernel alone answers whoever connects."""
        if self.mode.kind is Kind.REFUSE or (self._absent and not self.silent):
            self._stop_listening()
            return
        if self._listener is None:
            self._listener = _listening(self.listen_host, self.port)
        if self.silent:
            self._pause_accepting()
        else:
            self._accept_again()

    def _stop_listening(self) -> None:
        self._pause_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._left_waiting = False

    def _accept_again(self) -> None:
        if self._listener is not None and not self._accepting and not self.silent:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._accepting = True

    def _pause_accepting(self) -> None:
        if self._listener is not None and self._accepting:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            if self._listener is None:
                return
            try:
                taken, _ = self._listener.accept()
            except BlockingIOError:
                self._left_waiting = False
                return
            except OSError as error:
                log.warning("cannot take a connection door=%s error=%s", self.name, error.strerror)
                self._pause_accepting()
                asyncio.get_running_loop().call_later(_NO_ROOM_WAIT_S, self._accept_again)
                return
            taken.setblocking(False)
            if self._left_waiting and _has_left(taken):
                taken.close()
                continue
            self._welcome(taken)

    def _welcome(self, taken: socket.socket) -> None:
        self.total += 1
        self.accepted += 1
        connection = Connection(self)
        self._connections.add(connection)
        self._begin(self._join(connection, taken))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, connection: Connection, taken: socket.socket) -> None:
        """Reaches the server for a client that has connected.

        Failure policy: where the server refuses, this client sees a reset (its kernel had a connection already), and
        the door is closed for the others until the server is back, so that they are refused as they would be by it.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection.client, taken)
            async with asyncio.timeout(_DIAL_S):
                await loop.create_connection(lambda: connection.server, self.server_host, self.server_port)
        except OSError as error:
            self.dial_failures += 1
            if isinstance(error, _NOBODY) and not self._absent:
                self._absent = True
                self._follow_mode()  # before the reset: who dials again because of it is refused
                self._begin(self._until_served())
            connection.reset()
            return
        connection.link()

    async def _until_served(self) -> None:
        """Opens the door again once its server takes connections."""
        while self._absent:
            await asyncio.sleep(_LOOK_FOR_SERVER_S)
            try:
                _, writer = await asyncio.open_connection(self.server_host, self.server_port)
                writer.close()
                self._absent = False
                self._follow_mode()
            except _NOBODY:
                continue
            except OSError as error:
                self._absent = True
                log.warning("cannot listen again door=%s error=%s", self.name, error.strerror)


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _has_left(taken: socket.socket) -> bool:
    """Whether a client that connected to a silent door has closed its end meanwhile, where the platform tells.

    On a network that loses everything it would never have got a connection: what it wrote must not arrive afterwards.
    """
    hung_up = getattr(select, "POLLRDHUP", 0)
    if not hung_up:
        return False
    asked = select.poll()
    asked.register(taken, hung_up)
    return bool(asked.poll(0))
