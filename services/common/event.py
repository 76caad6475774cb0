"""The payment event: its columns, what is valid, and the canonical bytes that are signed and delivered."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, Final, NamedTuple

TRANSACTION_ID: Final = "Transaction ID"
TIMESTAMP: Final = "Timestamp"
SENDER_NAME: Final = "Sender Name"
SENDER_UPI_ID: Final = "Sender UPI ID"
RECEIVER_NAME: Final = "Receiver Name"
RECEIVER_UPI_ID: Final = "Receiver UPI ID"
AMOUNT: Final = "Amount (INR)"
STATUS: Final = "Status"

COLUMNS: Final = (
    TRANSACTION_ID,
    TIMESTAMP,
    SENDER_NAME,
    SENDER_UPI_ID,
    RECEIVER_NAME,
    RECEIVER_UPI_ID,
    AMOUNT,
    STATUS,
)
STATUSES: Final = ("SUCCESS", "FAILED")
MAX_BODY_BYTES: Final = 64 * 1024
MAX_NAME_CHARS: Final = 200
MAX_UPI_CHARS: Final = 255
MAX_AMOUNT: Final = Decimal("1e15")
"""Far above any payment in rupees; keeps a hostile exponent from becoming a number of a million digits."""
_MAX_DIGITS: Final = 1000

_SORTED: Final = sorted(COLUMNS)
"""The amount comes first."""
_IN_ORDER: Final = itemgetter(*_SORTED)
_CANONICAL: Final = "{" + ", ".join(f'"{column}": %s' for column in _SORTED) + "}"

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_UPI = re.compile(r"[^\s@]+@[^\s@]+")
_NUMERIC = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class InvalidEventError(ValueError):
    """A body that is not an event. `fields` maps each faulty field to its reason."""

    def __init__(self, sentence: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fields = dict(fields or {})


class Event(NamedTuple):
    """One valid payment event."""

    transaction_id: str
    """The UUID in lower case: the idempotency key, the Kafka key and the webhook id."""
    timestamp: datetime
    sender_name: str
    sender_upi_id: str
    receiver_name: str
    receiver_upi_id: str
    amount: Decimal
    status: str
    canonical: bytes
    """What is signed, stored and delivered, unchanged."""


def canonical_bytes(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The canonical form of an event, or of an array of events: Python's `json.dumps` with sorted keys and its default
    separators and escapes."""
    return json.dumps(document, sort_keys=True).encode()


class Body(NamedTuple):
    """What a body holds, before anything but its form was looked at."""

    document: dict[str, Any]
    """Of a key that stands twice, the last value. NaN and Infinity, which JSON does not know, are floats here:
    `validate` takes neither in any field."""
    faults: dict[str, str]
    """The keys that stand more than once."""


class Repeats:
    """Reads JSON objects, and notes which of them have a key twice."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[dict[str, Any], list[str]]] = {}
        """By the object's address, which is its own only as long as the object is kept beside it."""

    def gather(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """One object, as `object_pairs_hook` of `json.loads`."""
        document = dict(pairs)
        if len(document) != len(pairs):
            self._found[id(document)] = (document, _repeated(pairs))
        return document

    def body(self, document: object) -> Body:
        """A value that was read, with the keys that stand twice in it: its own, not those of what lies inside.

        Raises:
            InvalidEventError: it is not an object.
        """
        if not isinstance(document, dict):
            raise InvalidEventError("The body must be a JSON object with the fields of one event.")
        _, twice = self._found.get(id(document), (None, ()))
        return Body(document, dict.fromkeys(twice, "stands more than once"))


def parse_json(body: bytes, repeats: Repeats) -> Any:
    """The JSON value in `body`; `repeats` learns of its objects.

    Raises:
        InvalidEventError: not UTF-8, not JSON, or nested deeper than Python parses.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=repeats.gather, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise InvalidEventError("The body is not UTF-8 text.") from error
    except RecursionError as error:
        raise InvalidEventError("The body is nested too deeply.") from error
    except ValueError as error:
        raise InvalidEventError(f"The body is not valid JSON: {error}.") from error


def parse_body(body: bytes) -> Body:
    """The JSON object in `body`.

    Raises:
        InvalidEventError: not UTF-8, not JSON, not an object, or nested deeper than Python parses.
    """
    repeats = Repeats()
    return repeats.body(parse_json(body, repeats))


def _repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    return sorted(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)


def _integer(digits: str) -> int:
    """As `int`, which refuses more than 4300 digits: of longer ones the beginning, as far beyond every limit."""
    return int(digits[:_MAX_DIGITS])


def validate(document: Mapping[str, Any], found: Mapping[str, str] | None = None) -> Event:
    """The event in `document`, unless faults were `found` in it before.

    Raises:
        InvalidEventError: with every faulty field and its reason, not just the first.
    """
    if not found and document.keys() == _CHECKS.keys():
        try:
            return _event(document)
        except ValueError:
            pass  # what is wrong with it is gathered below: an event that is right need not wait for that
    faults = _faults(document) | dict(found or {})
    raise InvalidEventError(f"The event has {len(faults)} faulty field{'s' * (len(faults) > 1)}.", faults)


def _event(document: Mapping[str, Any]) -> Event:
    """Raises ValueError at the first faulty field."""
    return Event(
        _transaction_id(document[TRANSACTION_ID]),
        _timestamp(document[TIMESTAMP]),
        _name(document[SENDER_NAME]),
        _upi_id(document[SENDER_UPI_ID]),
        _name(document[RECEIVER_NAME]),
        _upi_id(document[RECEIVER_UPI_ID]),
        _amount(document[AMOUNT]),
        _status(document[STATUS]),
        _canonical(document),
    )


def _canonical(document: Mapping[str, Any]) -> bytes:
    """`canonical_bytes` of an event whose fields are right: the same bytes in a third of the time."""
    amount, *texts = _IN_ORDER(document)
    written = encode_basestring_ascii(amount) if isinstance(amount, str) else repr(amount)
    return (_CANONICAL % (written, *map(encode_basestring_ascii, texts))).encode()


def _faults(document: Mapping[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for column, check in _CHECKS.items():
        if column not in document:
            faults[column] = "is missing"
            continue
        try:
            check(document[column])
        except ValueError as error:
            faults[column] = str(error)
    return faults | {str(key): "is not a field of an event" for key in document if key not in _CHECKS}


def _transaction_id(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID such as 4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f")
    return value.lower()


def _timestamp(value: object) -> datetime:
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("must be a date and time as YYYY-MM-DD HH:MM:SS")


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text that is not empty")
    if len(value) > limit:
        raise ValueError(f"must be at most {limit} characters long")
    if not value.isprintable() and _UNPRINTABLE.search(value):  # most text is, and the first question is the quicker
        raise ValueError("must not hold control characters or lone surrogates")
    return value


def _name(value: object) -> str:
    return _text(value, MAX_NAME_CHARS)


def _upi_id(value: object) -> str:
    text = _text(value, MAX_UPI_CHARS)
    if not _UPI.fullmatch(text):
        raise ValueError("must be a UPI id such as name@bank")
    return text


def _amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number or a numeric string")
    if isinstance(value, str) and not (len(value) <= 64 and _NUMERIC.fullmatch(value)):
        raise ValueError("must be a number or a numeric string")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    try:
        # repr of a float is the shortest text that is the same float: exactly what the canonical bytes hold.
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation as error:
        raise ValueError("must be a number or a numeric string") from error
    if not amount > 0:
        raise ValueError("must be greater than 0")
    if amount >= MAX_AMOUNT or amount.adjusted() < -18:
        raise ValueError("must lie between 1e-18 and 1e15")
    return amount


def _status(value: object) -> str:
    if value not in STATUSES:
        raise ValueError("must be SUCCESS or FAILED")
    return str(value)


_CHECKS: Final = {
    TRANSACTION_ID: _transaction_id,
    TIMESTAMP: _timestamp,
    SENDER_NAME: _name,
    SENDER_UPI_ID: _upi_id,
    RECEIVER_NAME: _name,
    RECEIVER_UPI_ID: _upi_id,
    AMOUNT: _amount,
    STATUS: _status,
}
