"""A disk that is full for one member: its processes may not make any file longer, while everybody else may.

Done with the limit on the size of files (RLIMIT_FSIZE), which Linux lets a process lower and raise again for another
one of the same user while that one runs, without root. The kernel then refuses writes with EFBIG ("File too large")
where a full disk says ENOSPC ("No space left on device"); what the file took before the limit stays, so a line can be
torn. Stricter than a full disk: a write into the middle of a file that is there already is refused too. Laxer: an
empty file can still be made, and what is mapped into memory can still be written.

A small file system of the member's own would say ENOSPC, but needs root to be mounted where it survives the member
(in a user namespace it dies, with the data, with the last process in it).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from typing import Any, Final

import psutil

from control_room.stack.local import processes
from control_room.stack.local.layout import Layout, read_json, write_json
from control_room.stack.runtime import NotRunningError, StackError

FILE_LIMIT: Final = "file_limit_bytes"
"""The key of a member's spec: one that starts again finds its disk still full."""
_TORN_BYTES: Final = 200
"""What the merchant's ledger still takes: less than one of its lines."""
_ROUNDS: Final = 5
"""How often a tree is walked again for children that were born meanwhile."""


def unavailable() -> str | None:
    """Why this platform cannot do it; None where it can."""
    if not hasattr(resource, "prlimit"):
        return (
            "only Linux lets one process limit the files of another (prlimit); elsewhere it would take a small file "
            "system of the member's own, which needs root"
        )
    return None


def fill(layout: Layout, member: str) -> int:
    """Lets `member` write nothing more, now and after a restart; the size in bytes that its files may still reach.

    Raises:
        StackError: the kernel does not let us.
    """
    limit_bytes = 0
    if member == "merchant-server":
        with contextlib.suppress(FileNotFoundError):
            limit_bytes = layout.ledger_file.stat().st_size + _TORN_BYTES
    _amend(layout, member, limit_bytes)
    _limit_tree(layout, member, limit_bytes)
    return limit_bytes


def free(layout: Layout, member: str) -> None:
    """Lets it write again. Harmless where it could already."""
    _amend(layout, member, None)
    _limit_tree(layout, member, None)


def is_full(layout: Layout, member: str) -> bool:
    """Whether `fill` was the last of the two."""
    return FILE_LIMIT in (read_json(layout.spec_file(member)) or {})


def _amend(layout: Layout, member: str, limit_bytes: int | None) -> None:
    spec: dict[str, Any] | None = read_json(layout.spec_file(member))
    if spec is None:
        raise NotRunningError(f"{member} was never started here; bring the stack up with `bruce-control up`")
    spec.pop(FILE_LIMIT, None)
    write_json(layout.spec_file(member), spec if limit_bytes is None else {**spec, FILE_LIMIT: limit_bytes})


def _limit_tree(layout: Layout, member: str, limit_bytes: int | None) -> None:
    """Sets the limit of all processes of `member`; the children inherit it that are born afterwards."""
    note = processes.read_note(layout.pid_file(member))
    root = note.process() if note else None
    done: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = [process for process in processes.tree(root) if process.pid not in done] if root else []
        if not fresh:
            return
        done.update(process.pid for process in fresh)
        owners: dict[tuple[int, int], list[int]] = {}
        for process in fresh:
            with contextlib.suppress(psutil.NoSuchProcess):
                owners.setdefault((process.uids().real, process.gids().real), []).append(process.pid)
        for (uid, gid), pids in owners.items():
            _limit(pids, limit_bytes, uid, gid)


def _limit(pids: list[int], limit_bytes: int | None, uid: int, gid: int) -> None:
    """Root without CAP_SYS_RESOURCE (in a container) is a stranger to Postgres, which runs as another user: the kernel
    is then asked by a child that has become this user. It is not another program: that user may not reach ours."""
    if uid == os.geteuid():
        refused = _set_limits(pids, limit_bytes)
    else:
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
                os._exit(_set_limits(pids, limit_bytes))
            finally:
                os._exit(errno.EPERM)
        refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if refused:
        raise StackError(f"the kernel does not let us limit the files of pids {pids}: {os.strerror(refused)}")


def _set_limits(pids: list[int], limit_bytes: int | None) -> int:
    """The soft limit only: raising that again needs no privilege, up to the hard one. 0, or the error number."""
    for pid in pids:
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if limit_bytes is None else limit_bytes, hard))
        except ProcessLookupError:
            continue
        except OSError as error:
            return error.errno or errno.EPERM
    return 0
