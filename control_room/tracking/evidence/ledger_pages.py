"""The merchant's ledger over HTTP: pages of raw lines, from any line on."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson

from control_room.tracking.parts import SourceError

PAGE_LINES: Final = 10_000
"""About 3 MB a page: few requests, little memory."""
# A delivery as the merchant-server writes it, and any other line as a whole: see `operation_tail`.
_USUAL: Final = re.compile(
    rb'\{"n":\d+,"k":"req","id":"([!-~]{36})","at":[\d.]+,"sha":".{64}","hmac":"\w+","wh":"\w+","status":(?:(2\d\d)|-?\d+)'
    rb',"src":"[^"]*","att":"[^"]*","by":"[^"]*"(?:,"red":"[^"]*")?,"c":".{8}"\}\n|(.*)\n'
)


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Whole lines of the ledger, as they lie in the file."""

    body: bytes
    next_line: int
    """The number of the first line after the page."""
    total_lines: int
    """How many lines the ledger had when the page was made."""

    @property
    def lines(self) -> list[bytes]:
        """The raw lines with their newlines."""
        return self.body.splitlines(keepends=True)

    def delivered_ids(self) -> list[str]:
        """The ids that its lines acknowledge with a 2xx. A line that cannot be read acknowledges nothing."""
        found: list[str] = []
        for transaction_id, delivered, other in _USUAL.findall(self.body):
            if delivered:
                found.append(transaction_id.decode().lower())
            elif other and (known := _delivered_by(other)):
                found.append(known)
        return found


class LedgerSource:
    """Reads one merchant's ledger over a kept connection. Not for several threads."""

    def __init__(self, merchant_url: str, *, timeout_s: float = 2.0) -> None:
        self.exists = bool(merchant_url)
        """Whether there is a ledger to read at all: a merchant elsewhere may keep none for us."""
        parts = urlsplit(f"{merchant_url.rstrip('/')}/ledger")
        self._path = parts.path
        # The standard library's client: a page through `requests` takes five times the processor, twice a second.
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc, timeout=timeout_s)

    def page(self, first_line: int, max_lines: int = PAGE_LINES) -> LedgerPage:
        """The lines from number `first_line` on; empty where the ledger has not come so far.

        Raises:
            SourceError: the merchant-server does not answer, or not as a ledger does.
        """
        if not self.exists:
            raise SourceError("no merchant-server with a ledger is configured")
        try:
            answer, body = self._get(f"{self._path}?from={first_line}&limit={max_lines}")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise SourceError(f"merchant-server does not answer: {type(error).__name__}") from error
        if answer.status != 200:
            raise SourceError(f"merchant-server answered {answer.status} to a reading of its ledger")
        try:
            next_line, total = int(answer.headers["X-Next-Line"]), int(answer.headers["X-Ledger-Lines"])
        except (TypeError, ValueError) as error:
            raise SourceError("merchant-server answered without saying where its ledger goes on") from error
        if (body and not body.endswith(b"\n")) or next_line - first_line != body.count(b"\n"):
            raise SourceError("merchant-server answered with a page that is cut")
        return LedgerPage(body, next_line, total)

    def position(self) -> int:
        """How many lines the ledger has: the number of its next line. Raises SourceError as `page`."""
        return self.page(0, 1).total_lines

    def close(self) -> None:
        """Closes the connection; the next page opens one again."""
        self._connection.close()

    def _get(self, target: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Failure policy: a kept connection that the other side has closed meanwhile is opened anew, once."""
        kept = self._connection.sock is not None
        try:
            return self._ask(target)
        except (ConnectionError, http.client.RemoteDisconnected):
            if not kept:
                raise
            self.close()
            return self._ask(target)

    def _ask(self, target: str) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request("GET", target)
        answer = self._connection.getresponse()
        return answer, answer.read()


def _delivered_by(line: bytes) -> str:
    """The id that any line acknowledges with a 2xx; empty where it acknowledges none."""
    try:
        record = orjson.loads(line)
        if record["k"] == "req" and 200 <= record["status"] < 300:
            return str(record["id"].lower())
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return ""
