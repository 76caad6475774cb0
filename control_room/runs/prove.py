"""The last part of a run: wait for the drain, gather the evidence, give the verdict, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control_room.reports import write_report
from control_room.runs.recording import Recording
from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence import RunFollower, gather, wait_for_drain
from control_room.verify import Arithmetic, Verdict, check, write_verdict
from control_room.verify.files import OPERATIONS

QUIET_S: Final = 5.0
"""A client that has not ended its operation log and wrote nothing for so long is taken for dead."""
_POLL_S: Final = 0.25

OnArithmetic = Callable[[Arithmetic], None]
Narrate = Callable[[str], None]


def prove(
    endpoints: Endpoints,
    run_dir: Path,
    deadline_s: float,
    *,
    on_arithmetic: OnArithmetic | None = None,
    narrate: Narrate = lambda _: None,
    follower: RunFollower | None = None,
    recording: Recording | None = None,
    where: Callable[[], Endpoints] | None = None,
) -> Verdict:
    """The verdict on a run, from its drain to its report.

    Args:
        endpoints: where its evidence comes from.
        run_dir: the run's folder; gets the evidence, verdict.json, deliveries.csv and the report.
        deadline_s: seconds to wait for the client's end and the drain together.
        on_arithmetic: called after each look at what is left.
        narrate: told what is being done.
        follower: one that has followed the run so far.
        recording: of this run; ended before the evidence is sealed, for it is a part of it.
        where: for a follower that is made here, see RunFollower.

    Raises:
        tracking.parts.SourceError: `run_dir` is not the folder of a run.
        OSError: it cannot be written to.
    """
    until_s = time.monotonic() + deadline_s
    following = follower or RunFollower(endpoints, run_dir, where=where)
    try:
        _wait_for_client(following, run_dir, until_s, on_arithmetic, narrate)
        left_s = max(0.0, until_s - time.monotonic())
        wait_for_drain(endpoints, run_dir, left_s, on_arithmetic, follower=following)
    finally:
        if follower is None:
            following.close()
    if recording is not None:
        recording.close()
    gathered = gather(endpoints, run_dir, narrate)
    for gap in gathered.gaps:
        narrate(gap)
    return judge(run_dir)


def judge(run_dir: Path) -> Verdict:
    """The verdict from the files alone, written down with its report. Raises OSError where that cannot be."""
    verdict = check(run_dir)
    write_verdict(run_dir, verdict)
    write_report(run_dir, verdict)
    return verdict


def _wait_for_client(
    follower: RunFollower, run_dir: Path, until_s: float, on_arithmetic: OnArithmetic | None, narrate: Narrate
) -> None:
    """Until the operation log has its end, its client is silent, or the deadline."""
    told = False
    while time.monotonic() < until_s:
        arithmetic = follower.sample()
        if on_arithmetic is not None:
            on_arithmetic(arithmetic)
        if follower.client_ended:
            return
        if _age_s(run_dir / OPERATIONS) > QUIET_S:
            narrate("the operation log has no end and its client is silent: go on with bruce-control replay --resume")
            return
        if not told:
            told = True
            narrate("the replay is still running; waiting for its end")
        time.sleep(_POLL_S)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
