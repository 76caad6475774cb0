"""Where a stack is that runs elsewhere, and how to be let in."""

from __future__ import annotations

import re
from typing import Annotated, Final

from psycopg.conninfo import make_conninfo
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.common.kafka import GROUP_ID
from services.common.settings import TopicName

HOOKABLE: Final = ("kill", "crash", "stop", "start", "restart", "freeze", "thaw", "disk-full", "wipe-kafka")
"""Faults that a command of the user's can do."""
SERVICES: Final = ("ingestion-api", "nginx", "outbox-publisher", "merchant-server", "dispatcher")
BOOTSTRAP: Final = "bootstrap.servers"


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("must be an address such as https://bruce.example.com:8000")
    return value.rstrip("/")


def _member(value: str) -> str:
    if not re.fullmatch(rf"({'|'.join(SERVICES)})(-\d+)?", value):
        raise ValueError(f"must be one of {', '.join(SERVICES)}, with -1, -2 … where there are several")
    return value


def _hooked(value: str) -> str:
    if value not in HOOKABLE:
        raise ValueError(f"must be one of {', '.join(HOOKABLE)}")
    return value


Url = Annotated[str, AfterValidator(_url)]
Text = str | bool | int | float
"""What YAML makes of a word."""


class Hook(BaseModel):
    """Commands that apply one fault, undo it, and tell whether it has its effect. They run without a shell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    apply: Annotated[str, Field(min_length=1)]
    heal: Annotated[str, Field(min_length=1)]
    evidence: Annotated[str, Field(min_length=1)]
    """Ends with 0 while the fault has its effect, with something else while it has not."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long each may take, and how long the effect, and its end, is waited for."""


class ExternalConfig(BaseModel):
    """Where everything is, and how to be let in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api: Url
    """Where payments are sent to."""
    secret: Annotated[str, Field(repr=False)] = ""
    """The HMAC_SECRET of the stack; without one nothing can be sent."""
    kafka: Annotated[dict[str, Text], Field(repr=False)]
    """librdkafka's properties: `bootstrap.servers`, and how to be let in."""
    postgres: Annotated[dict[str, Text], Field(repr=False)]
    """libpq's parameters; `conninfo` for a URL or string of them."""
    topic: TopicName = "payment-webhooks"
    group: Annotated[str, Field(min_length=1, max_length=255)] = GROUP_ID
    """The dispatcher's consumer group."""
    brokers: list[Annotated[int, Field(ge=0)]] = []
    """Node ids of the brokers that must be there; as many as `bootstrap.servers` names, from 1 on, where not given."""
    members: dict[Annotated[str, AfterValidator(_member)], Url] = {}
    """Where each service answers, by name; what is not named is not watched."""
    webhook_url: Url | None = None
    """Where the dispatcher delivers to, as far as that is to be shown."""
    hooks: dict[Annotated[str, AfterValidator(_hooked)], Hook] = {}
    """Faults that there are, by name."""

    @property
    def bootstrap(self) -> str:
        """host:port of each broker, comma-separated."""
        return str(self.kafka[BOOTSTRAP])

    @property
    def broker_ids(self) -> list[int]:
        """Node ids of the brokers that must be there."""
        return self.brokers or list(range(1, self.bootstrap.count(",") + 2))

    @property
    def kafka_client(self) -> dict[str, str]:
        """How to be let in by the brokers."""
        return {name: _text(value) for name, value in self.kafka.items() if name != BOOTSTRAP}

    @property
    def conninfo(self) -> str:
        """Postgres, as libpq takes it."""
        parameters = {name: _text(value) for name, value in self.postgres.items() if name != "conninfo"}
        return make_conninfo(_text(self.postgres.get("conninfo", "")), **{"connect_timeout": "3", **parameters})

    def of_service(self, service: str) -> dict[str, str]:
        """The addresses of the members of one service, by name."""
        return {name: url for name, url in self.members.items() if re.fullmatch(rf"{service}(-\d+)?", name)}


def _text(value: Text) -> str:
    """As librdkafka and libpq write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
