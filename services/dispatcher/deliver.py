"""One HTTP attempt: a request out, an answer back. Knows nothing of retries, Kafka or Postgres.

`Deliverer` is what the rest of the dispatcher sees; another client can take its place behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from services.common.http_client import HttpClient, NoAnswerError
from services.common.signing import Secrets
from services.common.webhook import attempt_headers, fixed_headers
from services.dispatcher.record import Record
from services.dispatcher.retry import parse_retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt."""

    status: int | None
    """The HTTP status; None where no answer came."""
    error: str | None = None
    """Why no answer came: `timeout`, `refused`, `reset`, `dns`, `tls` or the name of the fault."""
    retry_after_s: float | None = None
    """What the merchant asked for, uncapped."""

    @property
    def delivered(self) -> bool:
        """Whether the merchant took it: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Deliverer(Protocol):
    """Delivers bodies to one merchant."""

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """One attempt, over within the request time-out. Never raises for what a merchant or a network does."""

    async def close(self) -> None:
        """Closes the connections; attempts under way end as failures."""


class HttpDeliverer:
    """`Deliverer` on the services' own HTTP client. A 3xx is a failed attempt, as every status but 2xx."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Must be made inside the running loop."""
        self._client = HttpClient(url, timeout_s=timeout_s)

    @property
    def idle_connections(self) -> int:
        """Connections that the next attempt may use."""
        return self._client.idle_connections

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Deliverer`.

        Failure policy: closed. Whatever ends without a 2xx status in time is a failed attempt, tried again.
        """
        try:
            status, retry_after, *_ = await self._client.post(headers, body)
        except NoAnswerError as error:
            return Answer(None, error.why)
        if 200 <= status < 300:
            return Answer(status)
        return Answer(status, None, parse_retry_after(retry_after, time.time()))

    async def close(self) -> None:
        """See `Deliverer`."""
        self._client.close()


class RequestHeaders:
    """Makes the headers of each attempt from what never changes and what does."""

    def __init__(self, secrets: Secrets, dispatcher: str) -> None:
        """`dispatcher` is the member's name."""
        self._secrets = secrets
        self._fixed = fixed_headers(dispatcher)

    def make(self, record: Record, now_s: float) -> dict[str, str]:
        """The headers for `record`'s attempt number `record.attempt`, signed at Unix time `now_s`."""
        if not record.signature:
            record.signature = self._secrets.sign(record.body)
        own = attempt_headers(
            self._secrets,
            record.body,
            record.transaction_id,
            now_s,
            (record.position.partition, record.position.offset),
            (record.round, record.attempt),
            redelivery=record.redelivery,
            signature=record.signature,
        )
        return {**self._fixed, **own}


async def close_quietly(deliverer: Deliverer, timeout_s: float = 1.0) -> None:
    """Closes `deliverer`, waiting no longer than `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        await deliverer.close()
