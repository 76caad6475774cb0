"""probes.jsonl: what was left, and where it lay, over time."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from control_room.tracking.arithmetic import Arithmetic
from control_room.verify.files import PROBES
from services.common.chain import ChainError, ChainWriter, last_link

log = logging.getLogger(__name__)


class ProbeLog:
    """Appends to a run's probes.jsonl, and goes on where an earlier following stopped.

    Failure policy: open. The probes explain and decide nothing, so a torn file is begun anew.
    """

    def __init__(self, run_dir: Path) -> None:
        """Raises OSError where the folder cannot be written to."""
        path = run_dir / PROBES
        self._writer, mode = ChainWriter(), "wb"
        if path.exists():
            try:
                with path.open("rb") as lines:
                    self._writer, mode = last_link(lines), "ab"
            except ChainError as error:
                log.warning("probes begun anew: %s", error)
        self._file = path.open(mode)

    def append(self, arithmetic: Arithmetic) -> None:
        """One look, with its Unix time."""
        record = {"k": "probe", "at": round(time.time(), 6), **arithmetic.to_json()}
        self._file.write(self._writer.line(record))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
