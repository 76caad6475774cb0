"""A batch of events in one body: a JSON array, or NDJSON (one event a line)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.common.event import Body, InvalidEventError, Repeats, parse_body, parse_json

MAX_BATCH_EVENTS: Final = 500
MAX_BATCH_BYTES: Final = 1024 * 1024
"""500 events of usual size are some 200 KB. nginx lets twice as much through, so that the answer is the API's own."""
ARRAY_TYPE: Final = "application/json"
LINES_TYPES: Final = ("application/x-ndjson", "application/ndjson")

Item = Body | InvalidEventError
"""What stands in one place of a batch: an object, or why there is none."""


def array_body(events: Sequence[bytes]) -> bytes:
    """The canonical form of a JSON array of events, from each one's canonical bytes."""
    return b"[%s]" % b", ".join(events)


def parse_array(body: bytes) -> list[Item]:
    """The events of a JSON array.

    Raises:
        InvalidEventError: not an array. Where the JSON itself is broken, nobody can say where an event ends.
    """
    repeats = Repeats()
    documents = parse_json(body, repeats)
    if not isinstance(documents, list):
        raise InvalidEventError("The body must be a JSON array of events.")
    return [_item(repeats, document) for document in documents]


def parse_lines(body: bytes) -> list[Item]:
    """The events of NDJSON; an empty line is none. A line that is broken is the fault of its event alone."""
    return [_line(line) for line in body.split(b"\n") if line.strip()]


def _item(repeats: Repeats, document: object) -> Item:
    try:
        return repeats.body(document)
    except InvalidEventError as error:
        return error


def _line(line: bytes) -> Item:
    try:
        return parse_body(line)
    except InvalidEventError as error:
        return error
