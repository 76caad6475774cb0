"""One Kafka record as the dispatcher works on it, and how it is read. Knows no client: bytes in, a value out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from services.common.event import TRANSACTION_ID
from services.common.kafka import FIRST_SEEN_HEADER, NOT_BEFORE_HEADER, REDELIVERY_HEADER, ROUND_HEADER

Headers = list[tuple[str, bytes | None]]

MAX_VALUE_BYTES: Final = 512 * 1024
"""Above anything that the API's 64 KiB can become in canonical form (a two-byte letter grows to six characters)."""
MAX_DEAD_KEY_BYTES: Final = 1024
MAX_DEAD_HEADERS_BYTES: Final = 64 * 1024
"""With MAX_VALUE_BYTES well below what a producer may send (1 MB): a dead letter that Kafka refuses would never end."""
MAX_NOT_BEFORE_MS: Final = 10 * 60 * 1000
"""A due time further ahead is somebody's wrong clock, and counts as this."""
_MAX_ROUND: Final = 1_000_000
_KEY = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Position(NamedTuple):
    """A record's place, and the assignment under which it was read: completing it under another one means nothing."""

    partition: int
    offset: int
    epoch: int


@dataclass(slots=True, eq=False)
class Record:
    """One transaction's record and where its delivery stands."""

    position: Position
    transaction_id: str
    body: bytes
    """The canonical bytes: delivered unchanged."""
    first_seen_ms: int
    """Unix milliseconds at which the API accepted it."""
    not_before_ms: int = 0
    """Unix milliseconds before which a re-queued record is not tried; 0 where it may be tried at once."""
    redelivery: int | None = None
    """The number of the redelivery that it belongs to; None for the transaction's own delivery."""
    round: int = 1
    attempt: int = 0
    """Attempts made in this round."""
    signature: str = ""
    """`X-HMAC-Signature` of the body, made with the first attempt."""
    ramp: int = 0
    """The ramp in which it holds a slot (see `gate`); 0: none."""

    @property
    def size_bytes(self) -> int:
        """What it counts for in the bound of buffered bytes."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that can never be delivered, with all that the dead-letter topic needs."""

    position: Position
    reason: str
    transaction_id: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def redelivery(self) -> int | None:
        """As a record's."""
        return next((_positive(text) for name, text in self.headers if name == REDELIVERY_HEADER), None)

    @property
    def size_bytes(self) -> int:
        """What it counts for in the bound of buffered bytes."""
        return len(self.key or b"") + len(self.value or b"") + _size(self.headers)


def read_record(
    position: Position, key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int, now_ms: int
) -> Record | Unreadable:
    """The record, or why it is unreadable.

    Args:
        position: where it lies, under which assignment.
        key: the transaction id's ASCII bytes.
        value: the event's canonical bytes.
        headers: the record's headers; what cannot be read among ours counts as absent.
        timestamp_ms: the record's Kafka timestamp, 0 or less where it has none.
        now_ms: the time now, which bounds what the headers may claim.
    """
    transaction_id = key.decode("ascii").lower() if key is not None and _KEY.fullmatch(key) else None
    reason = _fault(transaction_id, value)
    if reason or transaction_id is None or value is None:
        return Unreadable(position, reason or "unreadable", transaction_id, key, value, headers)
    record = Record(position, transaction_id, value, timestamp_ms if timestamp_ms > 0 else now_ms)
    for name, text in headers:
        if name == ROUND_HEADER:
            record.round = min(max(1, _number(text, 1)), _MAX_ROUND)
        elif name == FIRST_SEEN_HEADER:
            record.first_seen_ms = _number(text, record.first_seen_ms)
        elif name == NOT_BEFORE_HEADER:
            record.not_before_ms = min(_number(text, 0), now_ms + MAX_NOT_BEFORE_MS)
        elif name == REDELIVERY_HEADER:
            record.redelivery = _positive(text)
    return record


def requeue_headers(record: Record, not_before_ms: int) -> Headers:
    """The headers of `record`'s next round."""
    headers: Headers = [
        (ROUND_HEADER, b"%d" % (record.round + 1)),
        (FIRST_SEEN_HEADER, b"%d" % record.first_seen_ms),
        (NOT_BEFORE_HEADER, b"%d" % not_before_ms),
    ]
    if record.redelivery is not None:
        headers.append((REDELIVERY_HEADER, b"%d" % record.redelivery))
    return headers


def dead_letter(unreadable: Unreadable, topic: str) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers for the dead-letter topic: as they came from `topic`, cut to what any producer may send.

    Added are `reason`, `source` (`topic:partition@offset`) and, where something was cut, `cut` with the sizes before.
    """
    position, key, value, headers = unreadable.position, unreadable.key, unreadable.value, unreadable.headers
    sizes = len(key or b""), len(value or b""), _size(headers)
    added: Headers = [
        ("reason", unreadable.reason.encode()),
        ("source", f"{topic}:{position.partition}@{position.offset}".encode()),
    ]
    if sizes[0] > MAX_DEAD_KEY_BYTES or sizes[1] > MAX_VALUE_BYTES or sizes[2] > MAX_DEAD_HEADERS_BYTES:
        added.append(("cut", b"key of %d bytes, value of %d bytes, headers of %d bytes" % sizes))
        key = key[:MAX_DEAD_KEY_BYTES] if key else key
        value = value[:MAX_VALUE_BYTES] if value else value
        headers = headers if sizes[2] <= MAX_DEAD_HEADERS_BYTES else []
    return key, value, [*headers, *added]


def _size(headers: Headers) -> int:
    return sum(len(name) + len(text or b"") for name, text in headers)


def _fault(transaction_id: str | None, value: bytes | None) -> str:
    if transaction_id is None:
        return "the key is not a transaction id"
    if not value:
        return "the record has no value"
    if len(value) > MAX_VALUE_BYTES:
        return f"the value is larger than {MAX_VALUE_BYTES} bytes"
    document = _parse(value)
    if not isinstance(document, dict):
        return "the value is not a JSON object"
    found = document.get(TRANSACTION_ID)
    if not isinstance(found, str) or found.lower() != transaction_id:
        return "the transaction id in the value is not the key"
    return ""


def _parse(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        pass
    try:
        # Stricter than the parser at the door must not mean undeliverable.
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _positive(text: bytes | None) -> int | None:
    """A redelivery's number; None where it is none."""
    return _number(text, 0) or None


def _number(text: bytes | None, otherwise: int) -> int:
    if text is None or not text.isdigit() or len(text) > 15:
        return otherwise
    return int(text)
