"""What is known about a stack between two commands: `stack.json`, and the secrets beside it."""

from __future__ import annotations

import secrets as random_source
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from control_room.stack.local.layout import Layout, read_json, write_json, write_private
from control_room.stack.runtime import StackError
from services.common.signing import SecretError, Secrets

FORMAT: Final = 1
DEFAULT_TOPIC: Final = "payment-webhooks"
DEFAULT_NAME: Final = "bruce"
"""Of the Postgres user and database."""


@dataclass(frozen=True, slots=True)
class StackRecord:
    """The facts of one stack, in its state folder."""

    ports: dict[str, int] = field(default_factory=dict)
    cluster_id: str = ""
    """Kafka's; its data belongs to it."""
    topic: str = DEFAULT_TOPIC
    postgres_user: str = DEFAULT_NAME
    postgres_db: str = DEFAULT_NAME
    webhook_url: str = ""
    started: bool = False
    """Whether the stack was brought up and not taken down since."""
    settings_sum: str = ""
    """Sum over what the members were started with: tells a later `up` that it was asked for something else."""
    replaced: dict[str, list[str]] = field(default_factory=dict)
    """Members that run another command than their own."""
    crash_points: bool = False
    """Whether the services have their crash points."""
    settings: dict[str, str] = field(default_factory=dict)
    """What the user set for the services, by variable; no secrets are among them."""
    links: bool = False
    """Whether the members dial through links that can be faulted."""

    @classmethod
    def load(cls, layout: Layout) -> StackRecord | None:
        """The record of the stack, or None where there is none.

        Raises:
            StackError: the record was written by another version.
        """
        found = read_json(layout.record_file)
        if found is None:
            return None
        if found.pop("format", None) != FORMAT:
            raise StackError(
                f"{layout.record_file} was written by another version of Bruce; "
                "take that stack down with it, or choose another --state folder"
            )
        known = {key: value for key, value in found.items() if key in cls.__dataclass_fields__}
        return cls(**known)

    def save(self, layout: Layout) -> None:
        """Writes the record, in one step."""
        fields: dict[str, Any] = asdict(self)
        write_json(layout.record_file, {"format": FORMAT, **fields})

    def but(self, **changes: Any) -> StackRecord:
        """A copy with other values."""
        return replace(self, **changes)


def hmac_secret(layout: Layout, environ: Mapping[str, str]) -> str:
    """The secret to start the stack with: the user's, else the one kept from before, else a new one; kept (mode 600).

    Raises:
        StackError: the user's secret is too short or a placeholder.
    """
    path = layout.secrets_dir / "hmac_secret"
    given = environ.get("HMAC_SECRET", "").strip()
    if given:
        try:
            Secrets.parse(given)
        except SecretError as error:
            raise StackError(str(error)) from error
        if _read(path) != given:
            write_private(path, given + "\n")
        return given
    return _read(path) or _make(path)


def kept_hmac_secret(layout: Layout) -> str | None:
    """The secret that the stack was started with, or None where none was ever kept."""
    return _read(layout.secrets_dir / "hmac_secret")


def postgres_password(layout: Layout, environ: Mapping[str, str], *, has_data: bool) -> str:
    """The password of this stack's Postgres: fixed when its data was made.

    Raises:
        StackError: the user's password is not the one that the existing data was made with.
    """
    path = layout.secrets_dir / "postgres_password"
    given, kept = environ.get("POSTGRES_PASSWORD", ""), _read(path)
    if kept and has_data:
        if given and given != kept:
            raise StackError(
                "POSTGRES_PASSWORD is not the one that this stack's data was made with; "
                "unset it, or start afresh with `bruce-control down --volumes`"
            )
        return kept
    if given:
        write_private(path, given + "\n")
        return given
    return kept or _make(path)


def kept_postgres_password(layout: Layout) -> str:
    """The password kept for this stack's Postgres, or an empty text."""
    return _read(layout.secrets_dir / "postgres_password") or ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n") or None
    except OSError:
        return None


def _make(path: Path) -> str:
    fresh = random_source.token_hex(32)
    write_private(path, fresh + "\n")
    return fresh
