"""Reading the configuration of a stack that runs elsewhere: filled in, and checked as a whole.

Secrets are never shown: no message holds a value of `kafka`, `postgres` or `secret`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError

from control_room.stack.external.checks import problems_of
from control_room.stack.external.config import ExternalConfig, Hook
from control_room.stack.external.values import ValueSource
from control_room.stack.runtime import StackSettingsError

_FILLED: Final = ("kafka", "postgres")
"""Sections whose values may stand elsewhere."""


def read_config(path: Path, environ: Mapping[str, str]) -> ExternalConfig:
    """The configuration in the file at `path`, with what it names in `environ` and in other files.

    Raises:
        StackSettingsError: it cannot be read, or something in it is wrong; a line per fault, with the setting's name.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise StackSettingsError(f"the configuration {path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise StackSettingsError(f"the configuration {path} is not YAML{line}") from error
    if not isinstance(document, dict):
        raise StackSettingsError(f"the configuration {path} must have settings, such as `api: https://…`")
    source = ValueSource(path.absolute().parent, environ)
    filled = source.filled(document)
    for name in _FILLED:
        if isinstance(filled.get(name), dict):
            filled[name] = source.filled(filled[name], f"{name}.")
    problems = [*source.problems]
    try:
        config = ExternalConfig(**filled)
        problems = problems or problems_of(config, path.absolute().parent)
    except ValidationError as error:
        problems += _sentences(error)
    if problems:
        raise StackSettingsError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def _sentences(error: ValidationError) -> list[str]:
    """One per fault, with the setting's name and never with what was given."""
    found = []
    for fault in error.errors():
        parts = [str(part) for part in fault["loc"] if part != "[key]"]
        reason = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            known = Hook.model_fields if parts[0] == "hooks" else ExternalConfig.model_fields
            reason = f"there is no such setting; there are {', '.join(known)}"
        elif fault["type"] == "missing":
            reason = "must be set"
        if parts[0] in _FILLED and len(parts) > 1:
            parts, reason = parts[:2], "must be a text, a number, true or false"
        sentence = f"{'.'.join(parts)}: {reason}"
        if sentence not in found:  # one per kind of text that it is not
            found.append(sentence)
    return found
