"""What the gathering of evidence needs to know from run.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from control_room.tracking.parts import SourceError
from control_room.verify.files import RUN


def run_document(run_dir: Path) -> dict[str, Any]:
    """The content of run.json. Raises SourceError where it is missing or not a run's."""
    try:
        document = orjson.loads((run_dir / RUN).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SourceError(f"{run_dir} is not the folder of a run: {RUN} is missing or unreadable") from error
    if not isinstance(document, dict) or not isinstance(document.get("ledger_from"), int):
        raise SourceError(f"{run_dir / RUN} does not say at which ledger line the run began")
    return document


def ledger_from(run_dir: Path) -> int:
    """The ledger line at which the run began. Raises SourceError as `run_document`."""
    return int(run_document(run_dir)["ledger_from"])
