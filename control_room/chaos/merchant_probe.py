"""One request to the merchant that is no delivery, and what was seen of its answer on the wire.

`/admin/probe` answers as the listener would and leaves no line in the ledger: looking must not disturb a verdict.
A raw socket, because what is looked for (single bytes, resets) is what HTTP clients hide.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from control_room.chaos.merchant_fields import NORMAL

WAIT_S: Final = 1.0
"""A merchant that has not answered after so long, beside its own latency, counts as silent."""
LONG_LATENCY_S: Final = 2.0
"""Of a longer latency only the begin is waited for."""
_READ_BYTES: Final = 64 * 1024
ENOUGH_BYTES: Final = 64 * 1024
"""What a dispatcher reads of an answer at most: more than this of one is huge, and no more is read here either."""
_QUESTION: Final = b"POST /admin/probe HTTP/1.1\r\nHost: bruce\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
_BODY: Final = b"{}"


@dataclass(slots=True)
class Seen:
    """What came back."""

    answer: str
    """The status, `reset`, `refused`, `closed` where the connection ended without one, or `nothing`."""
    began_ms: int = 0
    """From the request to the first byte, or to whatever came instead."""
    took_ms: int = 0
    size_bytes: int = 0
    whole: bool = False
    """Whether the answer ended in order."""
    moved: bool = False
    """Whether it points elsewhere."""
    retry_after: bool = False
    """Whether it says when to come again."""
    read_body: bool = True
    """Whether the request had a body to be read before this came."""

    def facts(self) -> dict[str, Any]:
        """For a journal."""
        extra = {} if self.read_body else {"body_sent": False}
        return {"observed": self.answer, "observed_ms": self.took_ms, "observed_bytes": self.size_bytes, **extra}


def probe(merchant_url: str, behaviour: Mapping[str, Any]) -> Seen:
    """Asks once, for as long as `behaviour` lets expect. Never raises for what the merchant or the network does."""
    url = urlsplit(merchant_url)
    mode = behaviour.get("mode")
    latency_s = min(float(behaviour.get("latency_ms", 0)) / 1000, LONG_LATENCY_S)
    wait_s = WAIT_S + latency_s
    if mode == "silent":
        wait_s = min(wait_s, float(behaviour.get("hang_s", wait_s)) / 2)
    with_body = mode != "reset-before-body"
    began_s = time.monotonic()
    seen = Seen("nothing", read_body=with_body)
    try:
        with socket.create_connection((url.hostname or "", url.port or 80), WAIT_S) as connection:
            connection.sendall(_QUESTION + _BODY if with_body else _QUESTION)
            _listen(connection, began_s, began_s + wait_s, seen)
    except ConnectionRefusedError:
        seen.answer = "refused"
    except (ConnectionResetError, BrokenPipeError):
        seen.answer = "reset"
    except OSError as error:
        seen.answer = type(error).__name__
    seen.took_ms = _ms_since(began_s)
    return seen


def _listen(connection: socket.socket, began_s: float, until_s: float, seen: Seen) -> None:
    """Reads until the end, enough bytes or the time is over."""
    head = b""
    while (left_s := until_s - time.monotonic()) > 0 and seen.size_bytes <= 2 * ENOUGH_BYTES:
        connection.settimeout(left_s)
        try:
            block = connection.recv(_READ_BYTES)
        except TimeoutError:
            return
        if not seen.size_bytes:
            seen.began_ms = _ms_since(began_s)
        if not block:
            seen.whole = b"\r\n\r\n" in head
            if not seen.size_bytes:
                seen.answer = "closed"
            return
        seen.size_bytes += len(block)
        head = (head + block)[:4096]
        _read_head(head, seen)


def _read_head(head: bytes, seen: Seen) -> None:
    """What is known of the answer so far."""
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ")
    seen.answer = words[1].decode("ascii", "replace") if len(words) > 1 and len(words[1]) == 3 else "a part"
    names = {line.partition(b":")[0].lower() for line in lines[1:]}
    seen.moved, seen.retry_after = b"location" in names, b"retry-after" in names


def fits(behaviour: Mapping[str, Any], seen: Seen, *, relayed: bool = False) -> bool:
    """Whether this is how a merchant of that behaviour answers.

    Of one that flaps it must be the failing half (a change begins with it); of one that fails now and then, either.
    Through a relay (see `Endpoints.relayed`) a reset is seen as a connection that is closed without an answer.
    """
    latency_ms = float(behaviour.get("latency_ms", 0))
    if seen.answer == "nothing" and latency_ms > 1000 * LONG_LATENCY_S:
        return True
    if seen.size_bytes and seen.began_ms < latency_ms - 1:
        return False
    mode = str(behaviour.get("mode", NORMAL))
    if mode == NORMAL:
        return seen.answer in _normal_answers(behaviour)
    if mode == "drip":
        return _dripped(behaviour, seen)
    if relayed and mode in _RESETTING:
        return seen.answer in ("reset", "closed") and not seen.size_bytes
    return mode in _FITTING and _FITTING[mode](seen)


def _normal_answers(behaviour: Mapping[str, Any]) -> set[str]:
    rate, share = float(behaviour.get("failure_rate", 0)), float(behaviour.get("timeout_share", 0.5))
    possible = {"200": rate < 1, "500": rate > 0 and share < 1, "nothing": rate > 0 and share > 0}
    return {answer for answer, may_be in possible.items() if may_be}


def _dripped(behaviour: Mapping[str, Any], seen: Seen) -> bool:
    """Some bytes came; either not all of them while it was waited, or all, and not at once."""
    if not seen.size_bytes:
        return False
    return not seen.whole or seen.took_ms - seen.began_ms >= 500 * float(behaviour.get("drip_s", 0))


_RESETTING: Final = ("refuse", "reset-before-body", "reset-after-ledger")
_FITTING: Final[Mapping[str, Callable[[Seen], bool]]] = {
    "outage": lambda seen: seen.answer == "500",
    "silent": lambda seen: seen.answer == "nothing",
    **dict.fromkeys(_RESETTING, lambda seen: seen.answer == "reset" and not seen.size_bytes),
    "rate-limited": lambda seen: seen.answer == "429" and seen.retry_after,
    "gone": lambda seen: seen.answer == "410",
    "redirect": lambda seen: seen.answer == "301" and seen.moved,
    "huge": lambda seen: seen.answer == "200" and seen.size_bytes > ENOUGH_BYTES,
    "flapping": lambda seen: seen.answer == "500",
}


def _ms_since(began_s: float) -> int:
    return round(1000 * (time.monotonic() - began_s))
