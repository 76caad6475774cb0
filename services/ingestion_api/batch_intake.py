"""From a request of `POST /events/batch` to its events, each valid or with what is wrong with it."""

from __future__ import annotations

from typing import Final

from services.common.batch import (
    ARRAY_TYPE,
    LINES_TYPES,
    MAX_BATCH_EVENTS,
    Item,
    parse_array,
    parse_lines,
)
from services.common.event import Body, Event, InvalidEventError, canonical_bytes, validate
from services.common.signing import Secrets
from services.ingestion_api.intake import media_type
from services.ingestion_api.refusal import RefusedError, error_body, forbidden
from services.ingestion_api.request import Request

_TYPES: Final = (ARRAY_TYPE, *LINES_TYPES)


def receive_batch(request: Request, secrets: Secrets) -> list[Event | InvalidEventError]:
    """What stands in each place of the batch in a request, in its order.

    The type is checked first, and the signature, which covers the body as a whole, before anything is told about it.

    Raises:
        RefusedError: 415, 403, 413 for too many events, or 400 where the body as a whole is no batch.
    """
    in_array = media_type(request, _TYPES) == ARRAY_TYPE
    raw, signature = request.body, request.signature
    parse = parse_array if in_array else parse_lines
    try:
        if secrets.verify(signature, raw):
            items = parse(raw)
        elif signature is not None and in_array:
            items = _signed_in_canonical_form(raw, signature, secrets)
        else:
            raise forbidden()
    except InvalidEventError as error:
        raise RefusedError(400, error_body(error.sentence), error.sentence) from error
    _refuse_size(len(items))
    return [_event(item) for item in items]


def _signed_in_canonical_form(raw: bytes, signature: str, secrets: Secrets) -> list[Item]:
    """The array of a client that signs the canonical form and sends another layout. Raises RefusedError: 403."""
    try:
        items = parse_array(raw)
        documents = [item.document for item in items if isinstance(item, Body)]
        genuine = len(documents) == len(items) and secrets.verify(signature, canonical_bytes(documents))
    except (InvalidEventError, RecursionError):
        raise forbidden() from None
    if not genuine:
        raise forbidden()
    return items


def _refuse_size(count: int) -> None:
    if not count:
        raise RefusedError(400, error_body("The batch holds no event."), "empty batch")
    if count > MAX_BATCH_EVENTS:
        sentence = f"A batch holds at most {MAX_BATCH_EVENTS} events, this one has {count}. Send it in parts."
        raise RefusedError(413, error_body(sentence), f"{count} events in a batch")


def _event(item: Item) -> Event | InvalidEventError:
    if isinstance(item, InvalidEventError):
        return item
    try:
        return validate(item.document, item.faults)
    except InvalidEventError as error:
        return error
