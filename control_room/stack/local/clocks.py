"""A wrong clock for one member: it runs under libfaketime, which reads from a file how far it is off.

The member is restarted with the library and a right clock first, and stepped while it works: what a clock does under a
running process is the fault, not what it says at a start. A restart of its own meanwhile keeps the wrong clock. Only
the clock of the wall steps; the monotonic one goes on, as it does when a machine's clock is set.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psutil

from control_room.stack.local.layout import Layout, read_json, write_json
from control_room.stack.local.postgres import Postgres
from control_room.stack.runtime import NotRunningError, StackError

SETTING: Final = "LIBFAKETIME"
"""The library's file, where it is not the package's."""
_PACKAGE: Final = "libfaketime"
_IN_PACKAGE: Final = "vendor/libfaketime/src/libfaketime.so.1"
_HOW_TO_GET_IT: Final = f"install it with pip install 'bruce-control[clock]', or name its file in {SETTING}"
_TRIAL: Final = "import time; time.sleep(0.001); print(time.time())"
"""Some builds fake sleeps too (Debian's 0.9.10 does): every `time.sleep` of Python 3.11 then fails."""
_TRIAL_OFF_S: Final = 100_000
_TRIAL_TIMEOUT_S: Final = 10.0
_PRELOAD: Final = "LD_PRELOAD"
FILE: Final = "FAKETIME_TIMESTAMP_FILE"
"""Names the file with the offset in the environment of whoever runs under the library."""
_CONSTANT: Final = {
    "FAKETIME_CACHE_DURATION": "1",  # seconds after which the file is read again
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # its correction for an old glibc lets Java's waits return at once (2.36)
    "NO_FAKE_STAT": "1",  # times of files are the kernel's
}
_SPAWNED: Final = re.compile(r"spawned: '([^']+)' with pid (\d+)")
_SHARED: Final = Path("/dev/shm")  # noqa: S108 - where the library keeps what it shares, under names that hold a pid


def libfaketime(environ: Mapping[str, str]) -> Path | None:
    """libfaketime's file, where there is one: the user's, else the package's."""
    given = environ.get(SETTING)
    if given:
        return Path(given) if Path(given).is_file() else None
    package = find_spec(_PACKAGE)
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / _IN_PACKAGE).is_file():
            return Path(folder) / _IN_PACKAGE
    return None


def unavailable(environ: Mapping[str, str]) -> str | None:
    """Why no clock can be stepped here; None where it can."""
    if sys.platform != "linux":
        return f"a member's own clock needs LD_PRELOAD, which {platform.system()} does not have"
    found = libfaketime(environ)
    if found is None and environ.get(SETTING):
        return f"{SETTING} names {environ[SETTING]}, and there is no such file"
    if found is None:
        return f"libfaketime is not there; {_HOW_TO_GET_IT}"
    return None if _works(found) else f"{found} does not work with this Python; {_HOW_TO_GET_IT}"


@cache
def _works(found: Path) -> bool:
    """Whether a Python under the library sleeps, and sees another time: tried, not guessed from a version."""
    env = {**_CONSTANT, _PRELOAD: str(found), "FAKETIME": f"+{_TRIAL_OFF_S}"}
    command = [sys.executable, "-I", "-S", "-c", _TRIAL]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S, check=True)
        return float(done.stdout) > time.time() + _TRIAL_OFF_S / 2
    except (OSError, subprocess.SubprocessError, ValueError):
        return False


def variables(library_file: str, offset_file: str) -> dict[str, str]:
    """The environment that puts a process under the library, as it sees the two files."""
    return {**_CONSTANT, _PRELOAD: library_file, FILE: offset_file}


def put_under(layout: Layout, postgres: Postgres, member: str, environ: Mapping[str, str]) -> None:
    """Lets the next start of `member` run under the library, its clock still right.

    Raises:
        StackError: the library or its file cannot be put where the member reads it.
    """
    found = libfaketime(environ)
    if found is None:
        raise StackError(f"libfaketime is gone; it was there a moment ago, or {SETTING} named it")
    account = postgres.account if member == "postgres" else None
    # As another user Postgres cannot enter the state folder, and may not reach the library.
    folder = layout.state / "clocks" if account is None else postgres.data.parent / "clock"
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        if account is not None:
            found = Path(shutil.copy(found, folder / found.name))
            found.chmod(0o755)
        offset = folder / f"{member}.offset"
        write_offset(offset, 0.0)
    except OSError as error:
        raise StackError(f"{member} cannot be put under libfaketime: {error}") from error
    spec = _spec(layout, member)
    env = {**_without(spec["env"]), **variables(str(found), str(offset))}
    write_json(layout.spec_file(member), {**spec, "env": env})


def step(layout: Layout, member: str, offset_s: float) -> None:
    """Puts the clock of `member` that far off, within a second or two. Raises StackError."""
    env = _spec(layout, member)["env"]
    if FILE not in env:
        raise StackError(f"{member} has the machine's clock; it was not put under libfaketime")
    try:
        write_offset(Path(env[FILE]), offset_s)
    except OSError as error:
        raise StackError(f"the clock of {member} cannot be stepped: {error}") from error


def is_under(layout: Layout, member: str) -> bool:
    """Whether the next start of `member` runs under the library."""
    return FILE in _spec(layout, member)["env"]


def release(layout: Layout, member: str) -> None:
    """Lets the next start of `member` run without the library again."""
    spec = _spec(layout, member)
    write_json(layout.spec_file(member), {**spec, "env": _without(spec["env"])})


def sweep(layout: Layout, member: str) -> None:
    """Removes what the library has left in shared memory for processes of `member` that were killed."""
    with suppress(OSError):
        log = layout.supervisor_log.read_text(encoding="utf-8", errors="replace")
        for name, pid in _SPAWNED.findall(log):
            if name == member and not psutil.pid_exists(int(pid)):
                forget(int(pid))


def forget(pid: int) -> None:
    """Removes what the library has left in shared memory for a process that was killed."""
    for left in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (_SHARED / left).unlink(missing_ok=True)


def _spec(layout: Layout, member: str) -> dict[str, Any]:
    found = read_json(layout.spec_file(member))
    if found is None:
        raise NotRunningError(f"{member} was never started here; bring the stack up with `bruce-control up`")
    return found


def _without(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in (*_CONSTANT, _PRELOAD, FILE)}


def write_offset(path: Path, offset_s: float) -> None:
    """Says how far off the clock is. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(f"{offset_s:+.3f}\n", encoding="ascii")
    fresh.chmod(0o644)
    fresh.replace(path)
