"""One connection to a door, and what was seen of it: the injector's own look at a link."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from control_room.chaos.observe import question
from control_room.stack.links.names import server_of

HOST: Final = "127.0.0.1"
ANSWERED: Final = "answered"
REFUSED: Final = "refused"
RESET: Final = "reset"
NOTHING: Final = "nothing"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one connection."""

    what: str
    """`answered`, `refused`, `reset`, `closed` or `nothing`."""
    took_ms: float
    """From the question to the first byte of the answer, or to whatever came instead."""
    sent_bytes: int = 0
    received_bytes: int = 0
    """Of the answer's first part."""


def probe_all(ports: Mapping[str, int], wait_s: float, *, to_the_end: bool = False) -> dict[str, Seen]:
    """Asks at every door at once; see `probe`."""
    with ThreadPoolExecutor(len(ports)) as pool:
        seen = pool.map(lambda door: probe(ports[door], server_of(door), wait_s, to_the_end=to_the_end), ports)
        return dict(zip(ports, seen, strict=True))


def probe(port: int, server: str, wait_s: float, *, to_the_end: bool = False) -> Seen:
    """Connects and asks once. Never raises for what the network does.

    Args:
        port: the door's.
        server: the member behind it, which decides the question.
        wait_s: for an answer.
        to_the_end: whether to go on reading after the answer, until the connection ends or `wait_s` is over.
    """
    asked = question(server)
    began_s = time.monotonic()
    try:
        with socket.create_connection((HOST, port), wait_s) as connection:
            began_s = time.monotonic()
            connection.settimeout(wait_s)
            connection.sendall(asked)
            first = connection.recv(65_536)
            took_ms = _ms_since(began_s)
            while to_the_end and first and connection.recv(65_536):
                pass
    except ConnectionRefusedError:
        return Seen(REFUSED, _ms_since(began_s))
    except (ConnectionResetError, BrokenPipeError):
        return Seen(RESET, _ms_since(began_s))
    except TimeoutError:
        if not to_the_end:
            return Seen(NOTHING, _ms_since(began_s))
        return Seen(ANSWERED, _ms_since(began_s))
    except OSError as error:
        return Seen(type(error).__name__, _ms_since(began_s))
    return Seen(ANSWERED if first else CLOSED, took_ms, len(asked), len(first))


def _ms_since(began_s: float) -> float:
    return round((time.monotonic() - began_s) * 1000, 1)
