"""One `POST /events` and what its answer means; nothing here retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from control_room.replay.errors import OptionsError
from control_room.replay.payments import Payment
from services.common.signing import SIGNATURE_HEADER, Secrets

_MAX_ANSWER_BYTES: Final = 64 * 1024
SERVED_BY_HEADER: Final = "X-Served-By"


class Outcome(StrEnum):
    """What an answer says about the payment."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """A definite no, 4xx."""
    UNKNOWN = "unknown"
    """It may have been accepted or not."""


@dataclass(frozen=True, slots=True)
class Answer:
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


class ApiClient:
    """Sends payments over kept-alive connections. Use as an async context manager."""

    def __init__(self, api_url: str, secrets: Secrets, *, timeout_s: float, connections: int) -> None:
        """Raises OptionsError where `api_url` is not an http(s) URL."""
        self._url = _events_url(api_url)
        self._secrets = secrets
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ApiClient:
        """Opens the session; connections follow with the requests."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, limit_per_host=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            headers={"Content-Type": "application/json", "User-Agent": "bruce-replay"},
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()

    async def post(self, payment: Payment) -> Answer:
        """Sends the payment once.

        Failure policy: open. Whatever goes wrong on the way is an answer of its own, UNKNOWN, never an exception: the
        request may have arrived.
        """
        assert self._session is not None, "use `async with`"  # noqa: S101 - a fault of the caller, not of input
        headers = {SIGNATURE_HEADER: self._secrets.sign(payment.body)}
        try:
            async with self._session.post(
                self._url, data=payment.body, headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(_MAX_ANSWER_BYTES)
                return _judge(response, body, payment)
        except TimeoutError:
            return Answer(Outcome.UNKNOWN, why="timeout", again=True)
        except aiohttp.ClientConnectorError:
            return Answer(Outcome.UNKNOWN, why="refused", again=True)
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
            return Answer(Outcome.UNKNOWN, why="reset", again=True)


def _judge(response: aiohttp.ClientResponse, body: bytes, payment: Payment) -> Answer:
    status = response.status
    by = response.headers.get(SERVED_BY_HEADER, "")[:64]
    document = _document(body)
    if status == 201:
        if document is None or str(document.get("transaction_id", "")).lower() != payment.transaction_id:
            # An answer that is not about this payment acknowledges nothing.
            return Answer(Outcome.UNKNOWN, status, why="201-of-another", by=by, again=True)
        duplicate = document.get("duplicate") is True
        return Answer(Outcome.ACCEPTED, status, duplicate=duplicate, by=by if by.isascii() else "")
    if 400 <= status < 500:
        sentence = str(document.get("error", ""))[:300] if document else ""
        return Answer(Outcome.REFUSED, status, sentence=sentence)
    return Answer(
        Outcome.UNKNOWN,
        status,
        why=str(status),
        again=status >= 500,
        retry_after_s=_seconds(response.headers.get("Retry-After")),
    )


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
