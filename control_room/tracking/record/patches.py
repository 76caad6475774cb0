"""Differences between two trees of JSON values: what one moment changed of the one before.

A patch is an object with one of these keys:

- `=`: the new value, whole;
- `k`: by key, the patches of an object that kept its shape; `-` lists keys that are gone, `+` holds new ones;
- `i`: by place, the patches of a list that kept its length;
- `s`: how many values a list lost at its front, then those it got at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Tree: TypeAlias = Any
Patch: TypeAlias = Mapping[str, Any]

WHOLE: Final = "="
KEYS: Final = "k"
GONE: Final = "-"
NEW: Final = "+"
PLACES: Final = "i"
SHIFT: Final = "s"


def difference(before: Tree, now: Tree) -> Patch | None:
    """What makes `now` of `before`; None where both are equal."""
    if type(before) is type(now):
        if before == now:
            return None
        if isinstance(now, dict):
            return _of_objects(before, now)
        if isinstance(now, list) and before and now:
            return _of_lists(before, now)
    return {WHOLE: now}


def patched(before: Tree, patch: Patch) -> Tree:
    """`before` with the patch put in; shares with it what did not change. Raises ValueError: they do not fit."""
    try:
        if WHOLE in patch:
            return patch[WHOLE]
        if SHIFT in patch:
            lost, got = patch[SHIFT]
            return [*before[lost:], *got]
        if PLACES in patch:
            values = list(before)
            for place, inner in patch[PLACES].items():
                values[int(place)] = patched(values[int(place)], inner)
            return values
        return _object(before, patch)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"a step that does not fit the moment before it: {error!r}") from error


def _object(before: dict[str, Any], patch: Patch) -> dict[str, Any]:
    found = {key: value for key, value in before.items() if key not in patch.get(GONE, ())}
    for key, inner in patch.get(KEYS, {}).items():
        found[key] = patched(found[key], inner)
    found.update(patch.get(NEW, {}))
    return found


def _of_objects(before: dict[str, Any], now: dict[str, Any]) -> Patch:
    kept = {key: difference(before[key], value) for key, value in now.items() if key in before}
    patch: dict[str, Any] = {KEYS: {key: inner for key, inner in kept.items() if inner is not None}}
    if gone := [key for key in before if key not in now]:
        patch[GONE] = gone
    if new := {key: value for key, value in now.items() if key not in before}:
        patch[NEW] = new
    return patch


def _of_lists(before: list[Any], now: list[Any]) -> Patch:
    length = len(before)
    for lost in range(length):
        rest = length - lost
        if rest <= len(now) and before[lost] == now[0] and before[lost:] == now[:rest]:
            return {SHIFT: [lost, now[rest:]]}
    if length != len(now):
        return {WHOLE: now}
    inner = ((place, difference(before[place], value)) for place, value in enumerate(now))
    return {PLACES: {str(place): patch for place, patch in inner if patch is not None}}
