"""How far a member's clock is off, seen in what it says itself."""

from __future__ import annotations

import re
import socket
import struct
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from control_room.chaos.member_log import log_size, logged_since
from control_room.chaos.observe import ANSWER_TIMEOUT_S, port_of
from control_room.stack.runtime import BROKERS, Runtime

_HTTP_QUESTION: Final = b"GET /healthz HTTP/1.1\r\nHost: bruce\r\nConnection: close\r\n\r\n"
_DATE: Final = re.compile(rb"^date: *([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_TOO_LARGE: Final = struct.pack(">i", 2**31 - 1)
"""The length of a request that no broker takes: it hangs up, and says so in its log with its own time."""
_LOGGED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z(?= )")
_LOG_WAIT_S: Final = 1.0


def clock_offset_s(runtime: Runtime, member: str) -> float | None:
    """Seconds by which its clock is ahead of ours, to a second or two; None where it does not tell."""
    if member == "postgres":
        return _postgres(runtime)
    return _broker(runtime, member) if member in BROKERS else _http(runtime, member)


def _postgres(runtime: Runtime) -> float | None:
    import psycopg  # when needed: the list of faults loads no client

    try:
        with psycopg.connect(runtime.endpoints().postgres_conninfo, connect_timeout=2) as connection:
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    except psycopg.Error:
        return None
    return None if row is None else float(row[0]) - time.time()


def _http(runtime: Runtime, member: str) -> float | None:
    """By the `Date` of its answer."""
    address = port_of(runtime.endpoints(), member)
    try:
        with socket.create_connection(address or ("", 0), ANSWER_TIMEOUT_S) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.sendall(_HTTP_QUESTION)
            found = _DATE.search(connection.recv(4096))
            return None if found is None else parsedate_to_datetime(found[1].decode("ascii")).timestamp() - time.time()
    except (OSError, ValueError):
        return None


def _broker(runtime: Runtime, member: str) -> float | None:
    """By the time of a line that it logs because of us."""
    address, begin = port_of(runtime.endpoints(), member), log_size(runtime, member)
    try:
        with socket.create_connection(address or ("", 0), ANSWER_TIMEOUT_S) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.sendall(_TOO_LARGE)
            connection.recv(1)
    except OSError:
        return None
    until_s = time.monotonic() + _LOG_WAIT_S
    while time.monotonic() < until_s:
        for line in reversed(logged_since(runtime, member, begin)):
            if found := _LOGGED.match(line):
                return datetime.fromisoformat(found[0]).timestamp() - time.time()
        time.sleep(0.05)
    return None
