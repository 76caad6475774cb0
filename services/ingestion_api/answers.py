"""What an answer to an event says, and to a batch of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from services.common.event import Event, InvalidEventError
from services.common.signing import Secrets
from services.ingestion_api import metrics
from services.ingestion_api.batch_intake import receive_batch
from services.ingestion_api.group_commit import Result, UnavailableError
from services.ingestion_api.intake import receive
from services.ingestion_api.refusal import RefusedError, error_body, error_document, reason_of
from services.ingestion_api.request import Request
from services.ingestion_api.store import Outcome

log = logging.getLogger(__name__)
RETRY_AFTER_S: Final = 1
JSON: Final = "application/json"
_UNAVAILABLE: Final = "The event could not be stored in time. Send it again: the same id is never stored twice."
_UNFORESEEN: Final = "Something went wrong. Send the event again: the same id is never stored twice."
_UNFORESEEN_BODY: Final = error_body(_UNFORESEEN)
_CONFLICT: Final = "Another event with this Transaction ID was accepted before."
_CONFLICT_BODY: Final = error_body(_CONFLICT)
_ALL_ACCEPTED: Final = 201
_LOOK_INSIDE: Final = 207


class Answer(NamedTuple):
    """An answer, of whichever server."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Beside the content type, which is JSON; names in small letters, as ASGI wants them."""


class Store(Protocol):
    """What the face needs of `GroupCommit`."""

    async def submit(self, event: Event) -> Outcome:
        """Commits `event`. Raises UnavailableError or StoreError."""

    async def submit_all(self, events: Sequence[Event]) -> list[Result]:
        """Commits `events`, each with its own result. Raises UnavailableError where nothing is known of any."""

    def check(self) -> None:
        """From another thread: raises UnavailableError where Postgres does not answer."""


async def answer_event(request: Request, secrets: Secrets, store: Store) -> Answer:
    """The answer to `POST /events`. Raises StoreError, and what was not foreseen."""
    transaction_id = ""
    try:
        event = receive(request, secrets)
        transaction_id = event.transaction_id
        outcome = await store.submit(event)
    except RefusedError as error:
        return refused(error)
    except UnavailableError as error:
        return _unavailable(error, transaction_id)
    if outcome is Outcome.CONFLICT:
        _count_refusal(409, "same id, other content", transaction_id)
        return Answer(409, _CONFLICT_BODY)
    if outcome is Outcome.ACCEPTED:
        metrics.ACCEPTED.inc()
        body = b'{"message": "Event accepted", "transaction_id": "%s", "duplicate": false}'
    else:
        metrics.DUPLICATES.inc()
        body = b'{"message": "Event was accepted before", "transaction_id": "%s", "duplicate": true}'
    return Answer(201, body % transaction_id.encode())


async def answer_batch(request: Request, secrets: Secrets, store: Store) -> Answer:
    """The answer to `POST /events/batch`: 201 where every event is accepted, 207 where each is to be looked at."""
    try:
        items = receive_batch(request, secrets)
        metrics.BATCH_EVENTS.observe(len(items))
        valid = [item for item in items if isinstance(item, Event)]
        stored = iter(await store.submit_all(valid) if valid else ())
    except RefusedError as error:
        return refused(error)
    except UnavailableError as error:
        return _unavailable(error, "")
    results = [
        _result_of(item, next(stored)) if isinstance(item, Event) else _result_of_invalid(item) for item in items
    ]
    accepted = all(result["status"] == 201 for result in results)
    return Answer(_ALL_ACCEPTED if accepted else _LOOK_INSIDE, json.dumps({"results": results}).encode())


def _result_of(event: Event, result: Result) -> dict[str, Any]:
    transaction_id = event.transaction_id
    if isinstance(result, Exception):
        status, sentence = (503, _UNAVAILABLE) if isinstance(result, UnavailableError) else (500, _UNFORESEEN)
        return _not_accepted(status, {"error": sentence}, str(result), transaction_id)
    if result is Outcome.CONFLICT:
        return _not_accepted(409, {"error": _CONFLICT}, "same id, other content", transaction_id)
    duplicate = result is Outcome.DUPLICATE
    (metrics.DUPLICATES if duplicate else metrics.ACCEPTED).inc()
    return {"status": 201, "transaction_id": transaction_id, "duplicate": duplicate}


def _result_of_invalid(error: InvalidEventError) -> dict[str, Any]:
    return _not_accepted(400, error_document(error.sentence, error.fields), reason_of(error), "")


def _not_accepted(status: int, told: dict[str, Any], reason: str, transaction_id: str) -> dict[str, Any]:
    _count_refusal(status, reason, transaction_id)
    return {"status": status, **({"transaction_id": transaction_id} if transaction_id else {}), **told}


def refused(error: RefusedError) -> Answer:
    """The answer to a request that is refused as a whole."""
    _count_refusal(error.status, error.reason, "")
    return Answer(error.status, error.body)


def _unavailable(error: UnavailableError, transaction_id: str) -> Answer:
    _count_refusal(503, str(error), transaction_id)
    return Answer(503, error_body(_UNAVAILABLE), ((b"retry-after", b"%d" % RETRY_AFTER_S),))


def unforeseen(error: Exception) -> Answer:
    """A 500 that tells nothing of the inside; the log has it."""
    metrics.REFUSED.labels("500").inc()
    log.error("a request failed", exc_info=error)
    return Answer(500, _UNFORESEEN_BODY)


def _count_refusal(status: int, reason: str, transaction_id: str) -> None:
    metrics.REFUSED.labels(str(status)).inc()
    level = logging.WARNING if status >= 500 else logging.INFO
    log.log(level, "event refused status=%d reason=%s tid=%s", status, reason[:500], transaction_id or "-")
