"""The real control room over made-up traffic; run in a pseudo-terminal by the benchmark.

python -m scripts.bench_ui.room --before 1000000 --rate 500 --ready FILE [--lags FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final, cast

from control_room.tracking.timeline import Timeline, TimelineEvent
from control_room.ui import app
from control_room.ui.app import ControlRoom
from scripts.bench_ui.traffic import MadeUpWatch

_PROBE_S: Final = 0.01


class Desk:
    """Tells the story of the transaction under the cursor; nothing else is asked for."""

    state_dir = Path()

    def story(self, transaction_id: str) -> Timeline:
        """A short one."""
        return Timeline(transaction_id, None, (TimelineEvent(time.time(), "accepted", "ingestion-api-1", "201"),), ())


class MeasuredRoom(ControlRoom):
    """The control room; with `lags`, how late its event loop is, written down at the end."""

    CSS_PATH = str(Path(app.__file__).with_name("app.tcss"))
    lags: Path | None = None
    late_s: list[float]

    def on_mount(self) -> None:
        """The probe, besides what the control room does then: Textual calls the handlers of every class."""
        if self.lags is not None:
            self.late_s = []
            self.run_worker(self._probe(), name="probe")

    async def _probe(self) -> None:
        """Failure policy: the benchmark misses its file where this ends."""
        while True:
            due_s = time.perf_counter() + _PROBE_S
            await asyncio.sleep(_PROBE_S)
            self.late_s.append(time.perf_counter() - due_s)

    def action_written(self) -> None:
        """Writes down what was measured so far, and begins anew."""
        if self.lags is not None:
            beside = self.lags.with_suffix(".new")
            beside.write_text(json.dumps(self.late_s))
            beside.rename(self.lags)
            self.late_s.clear()


def main() -> None:
    """Runs it until it is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=int, default=0, help="transactions held at the start")
    parser.add_argument("--rate", type=float, default=500.0, help="new ones a second")
    parser.add_argument("--ready", type=Path, required=True, help="a file that is made when the app begins")
    parser.add_argument("--lags", type=Path, help="where F12 writes how late the event loop was, in seconds")
    given = parser.parse_args()
    watch = MadeUpWatch(given.rate, given.before)
    watch.start()
    room = MeasuredRoom(watch, lambda: cast(Any, Desk()), view="transactions")
    room.lags = given.lags
    room.bind("f12", "written", show=False)
    given.ready.touch()
    try:
        room.run()
    finally:
        watch.stop()


if __name__ == "__main__":
    main()
