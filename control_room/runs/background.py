"""A replay in a thread of its own, so that others can watch it and break things meanwhile."""

from __future__ import annotations

import threading

from control_room.replay.progress import Progress
from control_room.replay.replay import Replay, run_replay
from control_room.replay.run_folder import RunFolder
from control_room.stack.runtime import Runtime
from services.common.signing import Secrets


class BackgroundReplay:
    """Runs from `start` to its end, or until `stop`."""

    def __init__(self, runtime: Runtime, folder: RunFolder, *, resume: bool = False) -> None:
        """`resume` goes on with a run that was cut off. Raises as `Replay`."""
        secrets = Secrets.parse(runtime.secret())
        self._replay = Replay(folder, runtime.endpoints().api_url, secrets, on_progress=self._saw, resume=resume)
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._error: BaseException | None = None
        self.progress: Progress | None = None
        """The newest; at the end the summary. Replaced, never changed."""

    def start(self) -> None:
        """Starts sending."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends it in order and waits for that: the operation log gets its end."""
        self._replay.stop()
        self._thread.join()

    def change_rate(self, rate_per_s: float) -> None:
        """See `Replay.change_rate`."""
        self._replay.change_rate(rate_per_s)

    def change_speed(self, speed: float) -> None:
        """See `Replay.change_speed`."""
        self._replay.change_speed(speed)

    def summary(self) -> Progress:
        """What it did, once it ended. Raises what ended it where that was an error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self.progress is None:
            raise RuntimeError("the replay ended without telling anything")
        return self.progress

    def _saw(self, progress: Progress) -> None:
        self.progress = progress

    def _run(self) -> None:
        try:
            run_replay(self._replay)
        except Exception as error:  # noqa: BLE001  kept, and raised again in the thread that asks for the summary
            self._error = error
