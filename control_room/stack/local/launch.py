"""Becomes a member: notes its own pid and start mark on disk, then runs the member's command in its place.

Run by path as `python -I -S launch.py SPEC.json`, by supervisord for each member, so it imports nothing but the
standard library and stays small: eleven of them run at every start. The pid is the member's own, because the command
replaces this process. The spec (mode 600) carries what must not stand on a command line: the environment.

Keys of the spec: `argv`, `env`, `cwd`, `record` (where the pid goes), and optionally `uid` with `gid`,
`file_limit_bytes` (no file may become longer than this: see `full_disk`), `own_session` (lead one), and `detach`
(leave the caller's session, be nobody's child, print to this file: supervisord itself).
"""

# ruff: noqa: PTH105, PTH123 - pathlib would double the time this takes, eleven times per start

from __future__ import annotations

import json
import os
import sys
import time


def start_mark() -> str:
    """What tells this process from a later one with the same pid: boot id and start tick, where they are shown."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}:{stat.read().rpartition(b')')[2].split()[19].decode()}"
    except OSError:
        return f"time:{time.time():.2f}"


def note_pid(path: str) -> None:
    """Writes pid and start mark to `path`, replaced in one step."""
    fresh = f"{path}.new"
    with open(fresh, "w") as file:
        json.dump({"pid": os.getpid(), "mark": start_mark()}, file)
    os.replace(fresh, path)


def detach(output: str) -> None:
    """Leaves the caller: a new session, nobody's child, nothing of its terminal held open; prints into `output`."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for source, descriptor in ((null, 0), (said, 1), (said, 2)):
        os.dup2(source, descriptor)


def lead_session() -> None:
    """Leads a session of its own; pid and process group stay what they are.

    Where Linux shares the processors out among sessions first (autogroups, sched(7)), a member alone in one waits for
    its turn behind other sessions, not behind every thread of the stack. Elsewhere it changes nothing.

    Failure policy: open. A member in the stack's session works as well, if more slowly beside others.
    """
    try:
        # Supervisord made it lead a group of processes, and no leader may begin a session (setsid(2)).
        os.setpgid(0, os.getpgid(os.getppid()))
        os.setsid()
    except OSError as error:
        sys.stderr.write(f"stays in the session of the stack: {error.strerror}\n")


def limit_files(limit_bytes: int) -> None:
    """Lets this process, and what it becomes, make no file longer. The hard limit stays: it can be undone."""
    import resource  # where it is needed: it would cost every start

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))


def main(spec_path: str) -> None:
    """Reads the spec and becomes what it says; never returns."""
    with open(spec_path) as file:
        spec = json.load(file)
    os.umask(0o077)
    os.chdir(spec["cwd"])
    if spec.get("detach"):
        detach(spec["detach"])
    note_pid(spec["record"])
    if spec.get("own_session"):
        lead_session()
    if "file_limit_bytes" in spec:
        limit_files(spec["file_limit_bytes"])
    if "uid" in spec:
        os.setgroups([])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
    argv = spec["argv"]
    try:
        os.execve(argv[0], argv, spec["env"])  # noqa: S606 - a list that we wrote ourselves, no shell
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])
