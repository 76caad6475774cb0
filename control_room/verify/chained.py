"""Reading the chained and plain JSON files of a run, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from control_room.verify.manifest import EvidenceError
from services.common.chain import ChainError, read_chain

Record = dict[str, Any]
_BUFFER_BYTES = 1 << 20


def records(path: Path, *, trust_first: bool = False) -> Iterator[Record]:
    """Each record of a chained file, checked. A file that does not exist has none.

    Raises:
        EvidenceError: at the first line that is missing, changed or cut.
    """
    try:
        file = path.open("rb", buffering=_BUFFER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EvidenceError(f"{path.name} cannot be read: {error.strerror}") from error
    with file:
        try:
            yield from read_chain(file, trust_first=trust_first)
        except ChainError as error:
            raise EvidenceError(f"{path.name}: {error}") from error


@contextmanager
def shaped(name: str) -> Iterator[None]:
    """Turns a missing key or a wrong type inside a record of `name` into an EvidenceError."""
    try:
        yield
    except EvidenceError:
        raise
    except KeyError as error:
        raise EvidenceError(f"{name}: a line lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise EvidenceError(f"{name}: a line holds a value of the wrong kind ({error})") from error


def document(path: Path) -> Record | None:
    """The JSON object in `path`; None where there is no file. Raises EvidenceError where it is not one."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvidenceError(f"{path.name} is not readable JSON") from error
    if not isinstance(found, dict):
        raise EvidenceError(f"{path.name} is not a JSON object")
    return found
