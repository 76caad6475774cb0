"""The first part of a run: its folder, with what must be known before the first request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_room.replay.options import ReplayOptions
from control_room.replay.replay import prepare
from control_room.replay.run_folder import RunFolder
from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence import ledger_position, open_ids_before, topic_id


def begin_run(
    endpoints: Endpoints, options: ReplayOptions, runs_dir: Path, plan: Mapping[str, Any] | None = None
) -> RunFolder:
    """Makes the folder of a run against this stack, with `plan` in its run.json; nothing is sent yet.

    Raises:
        ReplayError: the source or the options cannot be replayed, or the folder cannot be made.
        tracking.parts.SourceError: Postgres or the merchant does not answer: without both a run could not be judged.
    """
    found = topic_id(endpoints)
    kept = {"topic_id": found, **(plan or {})} if found is not None else plan
    # In this order: an id that arrives between the two is then in both places, and never in neither.
    before = list(open_ids_before(endpoints))
    position = ledger_position(endpoints)
    return prepare(
        options,
        runs_dir,
        ledger_from=position,
        before_ids=before,
        api_url=endpoints.api_url,
        plan=kept,
    )
