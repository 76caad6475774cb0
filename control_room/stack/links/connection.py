"""One connection through a door: two ends, and the bytes between them, passed on as the door's mode says.

Memory is bounded: an end is not read from while the other one cannot be written to, or while too much of it waits to
be late.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from control_room.stack.links.modes import Kind, Mode

if TYPE_CHECKING:
    from control_room.stack.links.door import Door

MAX_LATE_BYTES: Final = 256 * 1024
"""Of one direction that wait to be late; then it is not read from. One read more may lie above it."""
_PIECE_S: Final = 0.05
"""With a limit on bytes per second they leave in pieces of so much time, not in lumps as large as what was read."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero: closing sends RST (socket(7))."""


class End(asyncio.Protocol):
    """One end: takes what its peer process sends, and hands it to the other end."""

    def __init__(self, connection: Connection, *, up: bool) -> None:
        """`up`: what it receives travels from client to server."""
        self._connection = connection
        self._door = connection.door
        self._up = up
        self.other: End
        self._transport: asyncio.Transport | None = None
        self._late: deque[tuple[float, float, bytes]] = deque()
        """Due, received (both in loop time), and the bytes."""
        self.late_bytes = 0
        self._free_at = 0.0
        self._last_due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        """Whether its peer process takes nothing at the moment."""
        self._ended = False
        """Whether its peer process has said that it sends no more."""
        self._told_end = False
        self.lost: BaseException | bool = False
        """Whether it is gone: True after an orderly end, else the error."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport. It is read from at once, whatever is said here: see `data_received`."""
        self._transport = cast("asyncio.Transport", transport)
        if self._connection.over:
            self.reset()

    def data_received(self, data: bytes) -> None:
        """Passes on, delays or holds; what comes before the other end is there is held too."""
        kind = self._door.mode.kind
        if kind is Kind.SLOW:
            self._delay(data)
        elif kind is Kind.SILENCE or self._late or not self._connection.linked:
            self._append(self._last_due, asyncio.get_running_loop().time(), data)
        elif kind is Kind.RESET_AFTER:
            self._pass_some(data)
        else:
            self._pass_on(data)
        if self._late:
            self.reconcile()  # too much of it, or no other end yet

    def pause_writing(self) -> None:
        """Its peer process does not keep up: the other end is read from no more."""
        self._full = True
        self.other.reconcile()

    def resume_writing(self) -> None:
        """Its peer process keeps up again."""
        self._full = False
        self.other.reconcile()

    def eof_received(self) -> bool:
        """Half of the connection has ended; the other half may go on."""
        self._ended = True
        self._settle()
        return True

    def connection_lost(self, error: BaseException | None) -> None:
        """The end is gone."""
        self.lost = error or True
        self._drop_late()
        self._connection.lost_one()

    def mode_changed(self) -> None:
        """Lets go of what was held or late, or keeps it, as the new mode says."""
        self._cancel_timer()
        kind = self._door.mode.kind
        if kind is Kind.SLOW:
            self._arm()
        elif kind is not Kind.SILENCE and self._connection.linked:
            while self._late and not self._connection.over:
                self._take_late()
        self._settle()
        self.reconcile()

    def reconcile(self) -> None:
        """Reads from the peer process exactly while what it says can go somewhere."""
        transport = self._transport
        if transport is None or self.lost or transport.is_closing():
            return
        wanted = (
            self._connection.linked
            and not self._door.silent
            and not self.other._full
            and self.late_bytes < MAX_LATE_BYTES
        )
        if wanted is not transport.is_reading():
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def reset(self) -> None:
        """Ends it with RST, as a connection that broke."""
        self._drop_late()
        if self._transport is None or self.lost:
            return
        found = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def close(self) -> None:
        """Ends it in order, after what was written to it has left."""
        if self._transport is not None:
            self._transport.close()

    def _pass_on(self, data: bytes) -> None:
        if self.other.lost or self.other._transport is None:
            return
        self._door.passed(len(data), up=self._up)
        self.other._transport.write(data)

    def _pass_some(self, data: bytes) -> None:
        """Until the connection has had its bytes; then it is reset."""
        left = self._door.mode.bytes - self._connection.passed_bytes
        self._connection.passed_bytes += len(data)
        if left > 0:
            self._pass_on(data[:left])
        if len(data) >= left:
            self._door.resets += 1
            self._connection.reset()

    def _delay(self, data: bytes) -> None:
        mode, now = self._door.mode, asyncio.get_running_loop().time()
        size = max(1, int(mode.bytes_per_s * _PIECE_S)) if mode.bytes_per_s else len(data)
        for begin in range(0, len(data), size):
            piece = data[begin : begin + size]
            self._free_at = max(self._free_at, now) + (len(piece) / mode.bytes_per_s if mode.bytes_per_s else 0.0)
            self._append(self._free_at + _late_s(mode), now, piece)
        self._arm()

    def _append(self, due: float, received_at: float, data: bytes) -> None:
        self._last_due = max(self._last_due, due)  # nothing overtakes
        self._late.append((self._last_due, received_at, data))
        self.late_bytes += len(data)

    def _arm(self) -> None:
        if self._timer is None and self._late and self._connection.linked:
            self._timer = asyncio.get_running_loop().call_at(self._late[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._late and self._late[0][0] <= loop.time():
            self._take_late()
        self._arm()
        self._settle()
        self.reconcile()

    def _take_late(self) -> None:
        _, received_at, data = self._late.popleft()
        self.late_bytes -= len(data)
        self._door.delays.see(asyncio.get_running_loop().time() - received_at)
        if self._door.mode.kind is Kind.RESET_AFTER:
            self._pass_some(data)
        else:
            self._pass_on(data)

    def _settle(self) -> None:
        """Tells the other end that no more comes, once everything has been handed over; both told: it is over."""
        if not (self._ended and self._connection.linked) or self._told_end or self._late or self._door.silent:
            return
        self._told_end = True
        other = self.other
        if other._told_end:
            self.close()
            other.close()
        elif other._transport is not None and not other.lost and not other._transport.is_closing():
            with contextlib.suppress(OSError):
                other._transport.write_eof()

    def _drop_late(self) -> None:
        self._cancel_timer()
        self._late.clear()
        self.late_bytes = 0

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection:
    """Both ends of one connection through `door`."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.linked = False
        """Whether the server was reached."""
        self.over = False
        """Whether it was reset."""
        self.passed_bytes = 0
        """In both directions, since the door has its mode."""
        self.client, self.server = End(self, up=True), End(self, up=False)
        self.client.other, self.server.other = self.server, self.client

    @property
    def held_bytes(self) -> int:
        """What was read and not passed on yet."""
        return self.client.late_bytes + self.server.late_bytes

    def link(self) -> None:
        """Both ends are there."""
        self.linked = True
        self.mode_changed()

    def reset(self) -> None:
        """Breaks both ends."""
        self.over = True
        self.client.reset()
        self.server.reset()
        self.door.forget(self)

    def mode_changed(self) -> None:
        """Goes on as the door's new mode says."""
        self.passed_bytes = 0
        self.client.mode_changed()
        self.server.mode_changed()
        self.lost_one()

    def lost_one(self) -> None:
        """Lets one end go the way of the other. While the door is silent nobody learns of that either."""
        if self.door.silent or not (self.client.lost or self.server.lost):
            return
        broken = any(isinstance(end.lost, BaseException) for end in (self.client, self.server))
        for end in (self.client, self.server):
            if not end.lost:
                end.reset() if broken else end.close()
        self.door.forget(self)


def _late_s(mode: Mode) -> float:
    return (mode.latency_ms + random.uniform(-mode.jitter_ms, mode.jitter_ms)) / 1000  # noqa: S311 - no secret
