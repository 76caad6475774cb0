"""How an event is given to each system: the requests of Bruce and of its peers, as bytes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from services.common.batch import array_body
from services.common.event import canonical_bytes
from services.common.signing import SIGNATURE_HEADER, Secrets


@dataclass(frozen=True, slots=True)
class Target:
    """A system that is up, as its peer file describes it (bench/PEERS.md)."""

    adapter: str
    base_url: str
    options: Mapping[str, str] = field(default_factory=dict)
    """What the adapter needs, such as a token."""
    pids: Mapping[str, int] = field(default_factory=dict)
    """The root process of each part, by its name: what the system costs is the CPU of their trees."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.base_url)
        return parts.hostname or "127.0.0.1", parts.port or 80


class Adapter(Protocol):
    """Turns events into requests."""

    known_is_accepted: bool
    """Whether 409 means "you gave me this id before"."""

    def event_ids(self, tag: str, count: int) -> list[str]:
        """Ids that this system takes, another set for each `tag`."""

    def request(self, events: Sequence[tuple[str, int]]) -> bytes:
        """One HTTP request that gives these events (id, number), more than one only where the system takes batches."""


def make_adapter(target: Target) -> Adapter:
    """The adapter of `target`. Raises KeyError where there is none of its name."""
    return ADAPTERS[target.adapter](target)


def payment(event_id: str, number: int) -> dict[str, Any]:
    """A payment of the size that peers are given."""
    return {
        "Transaction ID": event_id,
        "Merchant ID": "merchant-0001",
        "Amount": f"{(number * 7919) % 100000 / 100:.2f}",
        "Currency": "EUR",
        "Status": "captured",
        "Method": "card",
        "Card": "4111********1111",
        "Customer": f"customer-{number % 999983:06d}",
        "Created At": "2026-01-01T00:00:00Z",
        "Description": "Order of two items, shipped to the usual address",
        "Reference": f"ref-{number:012d}",
    }


class _Peer:
    """One event a request, as JSON, with a bearer token where there is one."""

    known_is_accepted = False

    def __init__(self, target: Target) -> None:
        self.options = target.options
        self._host = "{}:{}".format(*target.address)

    def event_ids(self, tag: str, count: int) -> list[str]:
        return [f"{tag}-{number:07d}" for number in range(count)]

    def request(self, events: Sequence[tuple[str, int]]) -> bytes:
        [(event_id, number)] = events
        path, document = self.wrap(event_id, number)
        body = json.dumps(document, separators=(",", ":")).encode()
        token = self.options.get("token")
        return http_post(self._host, path, body, {"Authorization": f"Bearer {token}"} if token else {})

    def wrap(self, event_id: str, number: int) -> tuple[str, dict[str, Any]]:
        """The path, and the document around the payment."""
        return "/", payment(event_id, number)


class _Outpost(_Peer):
    def wrap(self, event_id: str, number: int) -> tuple[str, dict[str, Any]]:
        tenant = self.options["tenant"]
        data = payment(event_id, number)
        return "/api/v1/publish", {"tenant_id": tenant, "topic": "payment.received", "id": event_id, "data": data}


class _Convoy(_Peer):
    def wrap(self, event_id: str, number: int) -> tuple[str, dict[str, Any]]:
        document = {
            "endpoint_id": self.options["endpoint"],
            "event_type": "payment.received",
            "data": payment(event_id, number),
            "idempotency_key": event_id,
        }
        return f"/api/v1/projects/{self.options['project']}/events", document


class _Svix(_Peer):
    known_is_accepted = True

    def wrap(self, event_id: str, number: int) -> tuple[str, dict[str, Any]]:
        document = {"eventType": "payment.received", "eventId": event_id, "payload": payment(event_id, number)}
        return f"/api/v1/app/{self.options['app']}/msg/", document


class _Bruce:
    """Canonical bytes, signed as a whole; more than one event go to the batch."""

    known_is_accepted = False

    def __init__(self, target: Target) -> None:
        self._secrets = Secrets.parse(target.options["secret"])
        self._host = "{}:{}".format(*target.address)

    def event_ids(self, tag: str, count: int) -> list[str]:
        namespace = uuid.uuid5(uuid.NAMESPACE_OID, tag)
        return [str(uuid.uuid5(namespace, str(number))) for number in range(count)]

    def request(self, events: Sequence[tuple[str, int]]) -> bytes:
        bodies = [canonical_bytes(self._event(*one)) for one in events]
        path, body = ("/events", bodies[0]) if len(bodies) == 1 else ("/events/batch", array_body(bodies))
        return http_post(self._host, path, body, {SIGNATURE_HEADER: self._secrets.sign(body)})

    @staticmethod
    def _event(event_id: str, number: int) -> dict[str, Any]:
        return {
            "Transaction ID": event_id,
            "Timestamp": "2026-01-01 00:00:00",
            "Sender Name": f"Customer {number % 999983:06d}",
            "Sender UPI ID": f"customer{number % 999983:06d}@okbank",
            "Receiver Name": "Shop for two items, shipped to the usual address",
            "Receiver UPI ID": "shop0001@okbank",
            "Amount (INR)": 1 + (number * 7919) % 100000 / 100,
            "Status": "SUCCESS",
        }


def http_post(host: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST of JSON as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


ADAPTERS: Final[Mapping[str, Callable[[Target], Adapter]]] = {
    "receiver": _Peer,
    "outpost": _Outpost,
    "convoy": _Convoy,
    "svix": _Svix,
    "bruce": _Bruce,
}
"""`receiver`: straight into the bench's own receiver, which tells what the bench itself can do."""
