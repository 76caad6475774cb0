"""What is wrong with the values of a configuration that only Kafka's, Postgres's and our own libraries understand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import ProgrammingError
from psycopg.pq import Conninfo
from pydantic import TypeAdapter, ValidationError

from control_room.stack.external.config import BOOTSTRAP, ExternalConfig
from control_room.stack.external.hooks import HOOK_PARTS, words_of
from services.common.settings import Brokers, check_connecting
from services.common.signing import SecretError, Secrets

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_OURS: Final = frozenset({"options", "application_name", "connect_timeout", "tcp_user_timeout"})
"""Parameters of libpq that the control room sets itself."""
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def problems_of(config: ExternalConfig, folder: Path) -> list[str]:
    """What is wrong with them, a sentence each; `folder`: where hooks run."""
    found = [*_kafka_problems(config), *_postgres_problems(config), *_secret_problems(config)]
    return [*found, *_hook_problems(config, folder)]


def _kafka_problems(config: ExternalConfig) -> list[str]:
    given = config.kafka_client
    problems = []
    try:
        TypeAdapter(Brokers).validate_python(config.kafka.get(BOOTSTRAP))
    except ValidationError:
        problems.append(f"kafka.{BOOTSTRAP}: must be host:port of each broker, comma-separated, without spaces")
    for name in given:
        try:
            check_connecting(name)
        except ValueError as error:
            problems.append(f"kafka.{name}: {error}, and {BOOTSTRAP}")
    protocol = given.get("security.protocol", "PLAINTEXT")
    if protocol.upper() not in _PROTOCOLS:
        problems.append(f"kafka.security.protocol: must be one of {', '.join(_PROTOCOLS)}")
    return problems or _client_problems(given)


def _client_problems(given: Mapping[str, str]) -> list[str]:
    """What librdkafka has against the properties; it is asked without a broker's address, so it dials nobody."""
    quiet = logging.Logger("unused")
    quiet.addHandler(logging.NullHandler())
    try:
        AdminClient({**given, "logger": quiet})  # type: ignore[dict-item] # their stubs do not know their own loggers
    except KafkaException as error:
        said = error.args[0].str()
        for value in given.values():
            said = said.replace(value, "…") if len(value) > 3 else said
        return [f"kafka: {said}"]
    return []


def _postgres_problems(config: ExternalConfig) -> list[str]:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} - _OURS
    unknown = [name for name in config.postgres if name not in known and name != "conninfo"]
    if unknown:
        allowed = ", ".join(sorted(known))
        return [f"postgres.{name}: not for a user to set; there are conninfo, {allowed}" for name in unknown]
    mode = config.postgres.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        return [f"postgres.sslmode: must be one of {', '.join(_SSL_MODES)}"]
    try:
        config.conninfo  # noqa: B018 - made to see whether it can be
    except ProgrammingError:
        return ["postgres.conninfo: must be a URL such as postgresql://user@host:5432/db, or name=value pairs"]
    return []


def _secret_problems(config: ExternalConfig) -> list[str]:
    try:
        if config.secret:
            Secrets.parse(config.secret)
    except SecretError as error:
        return [f"secret: {error}"]
    return []


def _hook_problems(config: ExternalConfig, folder: Path) -> list[str]:
    """Commands that cannot be run in `folder`."""
    problems = []
    for name, hook in config.hooks.items():
        for part in HOOK_PARTS:
            try:
                words_of(getattr(hook, part), folder)
            except ValueError as error:
                problems.append(f"hooks.{name}.{part}: {error}")
    return problems
