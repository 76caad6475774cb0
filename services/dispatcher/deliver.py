"""One HTTP attempt: a request out, an answer back. Knows nothing of retries, Kafka or Postgres.

`Deliverer` is what the rest of the dispatcher sees; another client can take aiohttp's place behind it.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from yarl import URL

from services.common.signing import Secrets
from services.common.webhook import attempt_headers, fixed_headers
from services.dispatcher.record import Record
from services.dispatcher.retry import parse_retry_after

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer's body no more is read: the status is all that counts, the rest only frees the connection."""
KEEP_ALIVE_S: Final = 15.0
"""An idle connection is closed before common servers and balancers close it (60-75 s) under our hands."""


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


class AiohttpDeliverer:
    """`Deliverer` on aiohttp.

    No redirects (a 3xx is a failed attempt), no proxies from the environment, no cookies, no decompression, at most
    MAX_ANSWER_BYTES of an answer read.
    """

    def __init__(self, url: str, *, timeout_s: float, max_connections: int) -> None:
        """Must be made inside the running loop."""
        self._url = URL(url)
        connector = aiohttp.TCPConnector(
            limit=max_connections, limit_per_host=0, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=30
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            read_bufsize=16 * 1024,
            max_line_size=16 * 1024,
        )

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Deliverer`.

        Failure policy: closed. Whatever ends without a 2xx status in time is a failed attempt, tried again.
        """
        try:
            response = await self._session.post(self._url, data=body, headers=headers, allow_redirects=False)
        except TimeoutError:
            return Answer(None, "timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _name(error))
        await _discard(response)
        status = response.status
        if 200 <= status < 300:
            return Answer(status)
        return Answer(status, None, parse_retry_after(response.headers.get("Retry-After"), time.time()))

    async def close(self) -> None:
        """See `Deliverer`."""
        await self._session.close()


async def _discard(response: aiohttp.ClientResponse) -> None:
    """Reads the answer's body away so that its connection can be used again; an endless one loses its connection."""
    seen = 0
    try:
        while not response.content.at_eof():
            seen += len(await response.content.readany())
            if seen > MAX_ANSWER_BYTES:
                response.close()
                return
    except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
        # The status was there in time and decides; a body that breaks off changes nothing.
        response.close()
        return
    response.release()


def _name(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return "reset"
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in (errno.ECONNRESET, errno.EPIPE):
        return "reset"
    return type(error).__name__


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
