"""Questions of Kafka's wire protocol that the client library does not offer, or not safely (`group_members`).

Here: who leads the controller quorum. Under KRaft the `controller id` in a metadata answer names any living broker
(KIP-500); the leader of the quorum is told by DescribeQuorum (API key 55,
https://kafka.apache.org/protocol#The_Messages_DescribeQuorum).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Final

from control_room.tracking.kafka_door import log_in, secured
from control_room.tracking.parts import SourceError

_DESCRIBE_QUORUM: Final = 55
_METADATA_TOPIC: Final = b"__cluster_metadata"
_LEAST_ANSWER_BYTES: Final = 8
_MAX_ANSWER_BYTES: Final = 1 << 20
NO_PROPERTIES: Final[Mapping[str, str]] = {}
"""Everybody is let in."""


def quorum_leader(host: str, port: int, timeout_s: float, client: Mapping[str, str] = NO_PROPERTIES) -> int:
    """The node id of the active controller, asked of the broker at `host:port`, which passes the question on.

    Raises:
        SourceError: no answer in time, or the quorum has no leader.
    """
    answer = answer_to(_request(), host, port, timeout_s, "the quorum", client)
    try:
        return _leader(answer)
    except (struct.error, IndexError) as error:
        raise SourceError("the broker's answer about the quorum is unreadable") from error


def answer_to(
    request: bytes, host: str, port: int, timeout_s: float, what: str, client: Mapping[str, str] = NO_PROPERTIES
) -> bytes:
    """A broker's answer to one request, both without their length; `client`: librdkafka's properties for being let in.

    Raises:
        SourceError: no answer in time, or the broker lets nobody in; the message names `what`.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            plain.settimeout(timeout_s)
            with secured(plain, host, client) as connection:
                log_in(client, lambda question: _asked(connection, question, "a log-in"))
                return _asked(connection, request, what)
    except OSError as error:
        raise SourceError(f"no answer about {what} from {host}:{port}") from error


def _asked(connection: socket.socket, request: bytes, what: str) -> bytes:
    connection.sendall(struct.pack(">i", len(request)) + request)
    size = struct.unpack(">i", _exactly(connection, 4))[0]
    if not _LEAST_ANSWER_BYTES < size <= _MAX_ANSWER_BYTES:
        raise SourceError(f"the broker's answer about {what} is unreadable")
    return _exactly(connection, size)


def _request() -> bytes:
    header = struct.pack(">hhih", _DESCRIBE_QUORUM, 0, 1, -1) + b"\x00"
    topic = bytes([len(_METADATA_TOPIC) + 1]) + _METADATA_TOPIC + b"\x02" + struct.pack(">i", 0) + b"\x00" + b"\x00"
    body = b"\x02" + topic + b"\x00"
    return header + body


def _leader(answer: bytes) -> int:
    """Reads up to the leader's id: correlation, tags, error, one topic with its name, one partition."""
    (error,) = struct.unpack_from(">h", answer, 5)
    if error:
        raise SourceError(f"the quorum cannot be described (Kafka error {error})")
    name_bytes = answer[8] - 1  # at 7: the count of topics; both lengths are below 127, so each is one byte
    position = 9 + name_bytes + 1
    _, partition_error, leader = struct.unpack_from(">ihi", answer, position)
    if partition_error or leader < 0:
        raise SourceError("the controller quorum has no leader")
    return int(leader)


def _exactly(connection: socket.socket, count: int) -> bytes:
    taken = bytearray()
    while len(taken) < count:
        chunk = connection.recv(count - len(taken))
        if not chunk:
            raise SourceError("the broker closed the connection without an answer")
        taken += chunk
    return bytes(taken)
