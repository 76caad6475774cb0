"""Which run a command means."""

from __future__ import annotations

from pathlib import Path

from control_room.verify.files import RUN


class NoRunError(LookupError):
    """There is no such run. The message says where was looked."""


def find_run(runs_dir: Path, given: str | None = None) -> Path:
    """The folder of a run.

    Args:
        runs_dir: where the runs of a state folder lie.
        given: a folder, a run's id or the beginning of one; None: the newest run.

    Raises:
        NoRunError: there is none, or more than one begins so.
    """
    if given is not None and (Path(given) / RUN).is_file():
        return Path(given)
    known = sorted(path.parent for path in runs_dir.glob(f"*/{RUN}"))
    if given is None:
        if not known:
            raise NoRunError(f"there is no run in {runs_dir}; make one with: bruce-control replay")
        return max(known, key=lambda run: ((run / RUN).stat().st_mtime_ns, run.name))
    fitting = [run for run in known if run.name.startswith(given)] if "/" not in given else []
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NoRunError(f"{len(fitting)} runs begin with {given}: {', '.join(run.name for run in fitting[:5])}")
    raise NoRunError(f"{given} is neither a run's folder (none has {RUN}) nor the id of a run in {runs_dir}")
