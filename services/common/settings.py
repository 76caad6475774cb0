"""Settings, read once at start from the environment into documented, validated objects.

Each service derives its own class from the groups below. A wrong value stops the start with the variable's name and
what is allowed: `load` is the only way services read the environment.
"""

from __future__ import annotations

import json
import os
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import (
    AfterValidator,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.identity import own_name
from services.common.signing import Secrets

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _matching(pattern: str, sentence: str) -> AfterValidator:
    """Text that is exactly `pattern`; `sentence` says to a person what is allowed."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


MemberName = Annotated[
    str, _matching(r"[A-Za-z0-9._-]{1,64}", "must be 1 to 64 letters, digits, dots, dashes or underscores")
]
Brokers = Annotated[
    str, _matching(r"[^\s,:]+:\d+(,[^\s,:]+:\d+)*", "must be host:port of each broker, comma-separated, without spaces")
]
TopicName = Annotated[
    str, _matching(r"[A-Za-z0-9._-]{1,200}", "must be 1 to 200 letters, digits, dots, dashes or underscores")
]


def _none_or_many(value: float) -> float:
    if 0 < value < 100:  # a thread that rests for long after one batch is taken for one that hangs
        raise ValueError("must be 0 or at least 100")
    return value


PerSecond = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_none_or_many)]
"""A pace: at least 100 a second; 0: none."""


class ServiceSettings(BaseSettings):
    """What every service has: who it is, how it logs, where it answers."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    member_name: MemberName = Field(default_factory=own_name)
    """This process's name in logs, records and metrics, such as `ingestion-api-2`; not set: made of MEMBER_SERVICE and
    the container's number, else the host's name."""
    log_format: Literal["json", "plain"] = "json"
    """`json`: one JSON object per line; `plain`: readable text."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lines below this level are left out."""
    listen_host: str = "127.0.0.1"
    """The address this service's HTTP port is bound to."""
    shutdown_grace_sec: PositiveSeconds = 10.0
    """How long a drain may take after SIGTERM before the service leaves with what is still open."""
    crash_points: DirectoryPath | None = None
    """For tests: the folder in which crash points are armed. For `bruce-control up` it is `1`: the stack makes the
    folder, and `bruce-control chaos crash-point` arms. Not set: there are none."""


class SecretSettings(BaseSettings):
    """The shared secrets that sign and verify."""

    hmac_secret: SecretStr = SecretStr("")
    """Required. Several, comma-separated, rotate: the first signs, all verify."""

    @field_validator("hmac_secret")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        Secrets.parse(value.get_secret_value())
        return value

    model_config = SettingsConfigDict(validate_default=True)

    @cached_property
    def secrets(self) -> Secrets:
        """The parsed secrets."""
        return Secrets.parse(self.hmac_secret.get_secret_value())


class PostgresSettings(BaseSettings):
    """Where Postgres is: `DATABASE_URL`, or the single `POSTGRES_…` variables."""

    database_url: SecretStr | None = None
    """A libpq URL or key=value string; wins over the single variables."""
    postgres_host: str = "127.0.0.1"
    """The server's name or address."""
    postgres_port: Port = 5432
    """The server's port."""
    postgres_user: str = "bruce"
    """Who to be there."""
    postgres_password: SecretStr = SecretStr("")
    """The user's password."""
    postgres_db: str = "bruce"
    """The database that holds payments and outbox."""
    postgres_deadline_sec: PositiveSeconds = 2.0
    """How long one statement or one connect may take before Postgres counts as not answering."""
    postgres_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """TLS to Postgres, in libpq's words. Only `verify-full` knows the server for sure; not set: libpq's `prefer`. What
    DATABASE_URL says of TLS goes before this and the three below."""
    postgres_sslrootcert: FilePath | None = None
    """A file with the certificates of the authorities that vouch for Postgres; `verify-full` needs it."""
    postgres_sslcert: FilePath | None = None
    """The file of our own certificate, where Postgres asks for one."""
    postgres_sslkey: FilePath | None = None
    """The file of that certificate's key; libpq wants it unreadable for others."""

    @field_validator("database_url")
    @classmethod
    def _parses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                conninfo_to_dict(value.get_secret_value())
            except Exception as error:
                raise ValueError("must be a URL such as postgresql://user:password@host:5432/db") from error
        return value

    @cached_property
    def conninfo(self) -> str:
        """The libpq connection string, with a connect time-out and keep-alives so that a silent server is noticed."""
        if self.database_url is not None:
            base = self.database_url.get_secret_value()
            given = {str(key): value for key, value in conninfo_to_dict(base).items()}
        else:
            given = {
                "host": self.postgres_host,
                "port": self.postgres_port,
                "user": self.postgres_user,
                "password": self.postgres_password.get_secret_value() or None,
                "dbname": self.postgres_db,
            }
        deadline_s = max(1, round(self.postgres_deadline_sec))
        defaults: dict[str, str | int | Path | None] = {
            # A database made without a locale has no encoding, and text would come as bytes.
            "client_encoding": "UTF8",
            "connect_timeout": deadline_s,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(self.postgres_deadline_sec * 1000),
            "sslmode": self.postgres_sslmode,
            "sslrootcert": self.postgres_sslrootcert,
            "sslcert": self.postgres_sslcert,
            "sslkey": self.postgres_sslkey,
        }
        chosen = {**defaults, **given}
        return make_conninfo("", **{key: str(value) for key, value in chosen.items() if value is not None})


class KafkaSettings(BaseSettings):
    """Where Kafka is, how it is spoken to, and which topic carries the payments."""

    kafka_bootstrap_servers: Brokers = "127.0.0.1:19092,127.0.0.1:19093,127.0.0.1:19094"
    """host:port of each broker, comma-separated."""
    kafka_client: SecretStr = SecretStr("")
    """What the settings of TLS and of the login do not say: librdkafka's properties of how brokers are reached, as
    one JSON object; they win over those settings."""
    kafka_topic: TopicName = "payment-webhooks"
    """The topic of the payments; `.dead` is added for that of what cannot be delivered at all."""
    kafka_topic_partitions: Annotated[int, Field(ge=1, le=1000)] = 3
    """Partitions of a topic that is made; one that exists must have at least as many."""
    kafka_replication_factor: Annotated[int, Field(ge=1, le=9)] = 3
    """Copies of each partition, asserted at start."""
    kafka_min_insync_replicas: Annotated[int, Field(ge=1, le=9)] = 2
    """Copies that must have a record before it counts as written, asserted at start."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How the brokers are spoken to: with `SSL` their certificates and names are checked, with `SASL` we log in."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How we log in, where KAFKA_SECURITY_PROTOCOL says that we do."""
    kafka_sasl_username: str = ""
    """Who we are to the brokers."""
    kafka_sasl_password: SecretStr = SecretStr("")
    """That user's password."""
    kafka_ssl_ca_location: FilePath | None = None
    """A file with the certificates of the authorities that vouch for the brokers; not set: those of the system."""
    kafka_ssl_certificate_location: FilePath | None = None
    """The file of our own certificate, where the brokers ask for one."""
    kafka_ssl_key_location: FilePath | None = None
    """The file of that certificate's key."""
    kafka_ssl_key_password: SecretStr = SecretStr("")
    """The key's password, where it has one."""

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        login = (self.kafka_sasl_username, self.kafka_sasl_password.get_secret_value())
        if self.kafka_security_protocol.startswith("SASL") and not all(login):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}: "
                "set KAFKA_SASL_USERNAME, and KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE"
            )
        if (self.kafka_ssl_certificate_location is None) != (self.kafka_ssl_key_location is None):
            raise ValueError("KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION go together: set both or none")
        return self

    @property
    def security(self) -> dict[str, str]:
        """librdkafka's properties for these: those of TLS and of the login only where the protocol has them."""
        protocol = self.kafka_security_protocol
        chosen: dict[str, str | Path | None] = {}
        if protocol.endswith("SSL"):
            chosen |= {
                "ssl.ca.location": self.kafka_ssl_ca_location,
                "ssl.certificate.location": self.kafka_ssl_certificate_location,
                "ssl.key.location": self.kafka_ssl_key_location,
                "ssl.key.password": self.kafka_ssl_key_password.get_secret_value(),
            }
        if protocol.startswith("SASL"):
            chosen |= {
                "sasl.mechanism": self.kafka_sasl_mechanism,
                "sasl.username": self.kafka_sasl_username,
                "sasl.password": self.kafka_sasl_password.get_secret_value(),
            }
        return {"security.protocol": protocol, **{name: str(value) for name, value in chosen.items() if value}}

    @field_validator("kafka_client")
    @classmethod
    def _connects_only(cls, value: SecretStr) -> SecretStr:
        client_properties(value.get_secret_value())
        return value

    @property
    def dead_topic(self) -> str:
        """The topic for what cannot be delivered at all."""
        return f"{self.kafka_topic}.dead"


CONNECTING: Final = (
    "security.protocol",
    "sasl.",
    "ssl.",
    "enable.ssl.certificate.verification",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "https.ca.",
    "socket.",
    "broker.address.",
    "client.dns.lookup",
)
"""librdkafka's properties that say how a broker is reached; a name that ends with a dot begins several. The promise
rests on others, which nobody can set."""


def client_properties(text: str) -> dict[str, str]:
    """librdkafka's properties from a JSON object of texts; none where there is no text.

    Raises:
        ValueError: it is none, or has a property that says something else than how a broker is reached. The message
            holds no value.
    """
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError('must be a JSON object of texts, such as {"security.protocol": "SSL"}')
    for name in found:
        check_connecting(name)
    return found


def check_connecting(name: str) -> None:
    """Raises ValueError where the librdkafka property `name` is none of CONNECTING."""
    if not any(name == each or (each.endswith(".") and name.startswith(each)) for each in CONNECTING):
        allowed = ", ".join(f"{each}…" if each.endswith(".") else each for each in CONNECTING)
        raise ValueError(f"{name} is not for a user to set; allowed are {allowed}")


S = TypeVar("S", bound=BaseSettings)
_NEVER_SHOWN: Final = ("SECRET", "PASSWORD", "DATABASE_URL", "KAFKA_CLIENT")


def load(settings: type[S]) -> S:
    """The settings from the environment; leaves the process with status 2 and one sentence per wrong variable.

    A secret may stand in a file instead: `HMAC_SECRET_FILE` names it. So do all whose value is never shown.
    """
    try:
        return settings(**_from_files(settings))
    except ValidationError as error:
        for line in explain(error):
            sys.stderr.write(line + "\n")
        raise SystemExit(2) from None


def _from_files(settings: type[BaseSettings]) -> dict[str, Any]:
    """The secrets that are named by their files. Leaves the process like `load`."""
    found = {}
    for name, field in settings.model_fields.items():
        variable = f"{name.upper()}_FILE"
        path = os.environ.get(variable, "")
        if "SecretStr" not in str(field.annotation) or not path:
            continue
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            sys.stderr.write(f"{variable}: {path} cannot be read: {reason}\n")
            raise SystemExit(2) from None
        if os.environ.get(name.upper()):
            sys.stderr.write(f"{variable}: {name.upper()} is set too; set one of the two\n")
            raise SystemExit(2)
    return found


def explain(error: ValidationError) -> list[str]:
    """One sentence per fault: the variable's name, what is wrong, what was given (never for secrets)."""
    sentences = []
    for fault in error.errors():
        name = "_".join(str(part) for part in fault["loc"]).upper() or "settings"
        # A reason may begin with the variable's name, for readers elsewhere: once is enough here.
        reason = fault["msg"].removeprefix("Value error, ").removeprefix(f"{name} ")
        # A fault of several variables together has all of them as its input, the secrets among them.
        hidden = not fault["loc"] or any(word in name for word in _NEVER_SHOWN)
        given = "" if hidden else f" (given: {fault['input']!r})"
        sentences.append(f"{name}: {reason}{given}")
    return sentences
