"""One `POST /events`, or one `POST /events/batch`, and what its answer means; nothing here retries."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from yarl import URL

from control_room.replay.errors import OptionsError
from control_room.replay.payments import Payment
from services.common.batch import array_body
from services.common.http_client import HttpClient, NoAnswerError
from services.common.signing import SIGNATURE_HEADER, Secrets

_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_BATCH_ANSWER_BYTES: Final = 1024 * 1024
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "bruce-replay"}
_WHY: Final = {"timeout": "timeout", "refused": "refused", "dns": "refused", "tls": "refused"}
"""As the operation log has it; whatever else goes wrong is a `reset`."""


class Outcome(StrEnum):
    """What an answer says about the payment."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """A definite no, 4xx."""
    UNKNOWN = "unknown"
    """It may have been accepted or not."""


class Answer(NamedTuple):
    """What came back, if anything did."""

    outcome: Outcome
    status: int = 0
    why: str = ""
    """UNKNOWN: `timeout`, `reset`, `refused`, or the status that leaves it open."""
    duplicate: bool = False
    by: str = ""
    """The replica that answered."""
    sentence: str = ""
    """REFUSED: what the API said."""
    again: bool = False
    """Whether sending the same id again can lead to an answer."""
    retry_after_s: float = 0.0


class Received(NamedTuple):
    """An HTTP answer that arrived."""

    status: int
    body: bytes
    by: str = ""
    """The replica that answered, as it says."""
    retry_after: str | None = None


class ApiClient:
    """Sends payments over kept-alive connections. Use as an async context manager."""

    def __init__(self, api_url: str, secrets: Secrets, *, timeout_s: float) -> None:
        """How many requests are under way is the caller's business. Raises OptionsError where `api_url` is no URL."""
        self._url = _events_url(api_url)
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._one: HttpClient | None = None
        self._batch: HttpClient | None = None

    async def __aenter__(self) -> ApiClient:
        """Gets ready; connections follow with the requests."""
        batch_url = str(self._url / "batch")
        make = partial(HttpClient, timeout_s=self._timeout_s, headers=_HEADERS)
        self._one = make(str(self._url), keep_bytes=_MAX_ANSWER_BYTES)
        self._batch = make(batch_url, keep_bytes=_MAX_BATCH_ANSWER_BYTES)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Closes all connections."""
        for client in (self._one, self._batch):
            if client is not None:
                client.close()

    async def post(self, payment: Payment) -> Answer:
        """Sends the payment once.

        Failure policy: open. Whatever goes wrong on the way is an answer of its own, UNKNOWN, never an exception: the
        request may have arrived.
        """
        found = await self._post(self._one, payment.body)
        return found if isinstance(found, Answer) else _judge(found, payment)

    async def post_batch(self, payments: Sequence[Payment]) -> list[Answer]:
        """Sends the payments once, in one request; each one's answer, in their order. Failure policy: as `post`."""
        body = array_body([payment.body for payment in payments])
        found = await self._post(self._batch, body)
        return [found] * len(payments) if isinstance(found, Answer) else judge_batch(found, payments)

    async def _post(self, client: HttpClient | None, body: bytes) -> Received | Answer:
        """What came back; an Answer where nothing did."""
        assert client is not None, "use `async with`"  # noqa: S101 - a fault of the caller, not of input
        try:
            reply = await client.post({SIGNATURE_HEADER: self._secrets.sign(body)}, body)
        except NoAnswerError as error:
            return Answer(Outcome.UNKNOWN, why=_WHY.get(error.why, "reset"), again=True)
        return Received(reply.status, reply.body, reply.served_by[:64], reply.retry_after)


def _judge(received: Received, payment: Payment) -> Answer:
    """What the answer to `POST /events` says."""
    document = _document(received.body)
    return _answer(received.status, document, received, payment)


def judge_batch(received: Received, payments: Sequence[Payment]) -> list[Answer]:
    """What the answer to `POST /events/batch` says of each of `payments`.

    Each has its own result where the batch was looked at; any other answer is about all of them.
    """
    document = _document(received.body)
    if received.status not in (201, 207):
        return [_answer(received.status, document, received, payment) for payment in payments]
    results = document.get("results") if document else None
    if not isinstance(results, list) or len(results) != len(payments):
        # An answer that does not say what became of each acknowledges nothing.
        return [_of_another(received)] * len(payments)
    return [_result(result, received, payment) for result, payment in zip(results, payments, strict=True)]


def _result(result: object, received: Received, payment: Payment) -> Answer:
    if not isinstance(result, dict) or not isinstance(result.get("status"), int):
        return _of_another(received)
    return _answer(result["status"], result, received, payment)


def _answer(status: int, document: dict[str, Any] | None, received: Received, payment: Payment) -> Answer:
    if status == 201:
        if document is None or str(document.get("transaction_id", "")).lower() != payment.transaction_id:
            # An answer that is not about this payment acknowledges nothing.
            return _of_another(received)
        duplicate = document.get("duplicate") is True
        return Answer(Outcome.ACCEPTED, status, duplicate=duplicate, by=received.by if received.by.isascii() else "")
    if 400 <= status < 500:
        sentence = str(document.get("error", ""))[:300] if document else ""
        return Answer(Outcome.REFUSED, status, sentence=sentence)
    return Answer(
        Outcome.UNKNOWN,
        status,
        why=str(status),
        again=status >= 500,
        retry_after_s=_seconds(received.retry_after),
    )


def _of_another(received: Received) -> Answer:
    return Answer(Outcome.UNKNOWN, received.status, why="201-of-another", by=received.by, again=True)


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(retry_after: str | None) -> float:
    """Retry-After in its form of seconds; the form of a date is not worth a parser here."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0


def _events_url(api_url: str) -> URL:
    try:
        url = URL(api_url)
    except ValueError as error:
        raise OptionsError(f"{api_url!r} is not a URL such as http://127.0.0.1:8000.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise OptionsError(f"{api_url!r} is not a URL such as http://127.0.0.1:8000.")
    return url if url.path.endswith("/events") else url / "events"
