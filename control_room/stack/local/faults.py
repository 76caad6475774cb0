"""What can be done to single members while the stack runs. Each acts on all processes of a member, not on the first."""

from __future__ import annotations

import time
from typing import Final

import psutil

from control_room.stack.local import processes, takedown
from control_room.stack.local.layout import Layout
from control_room.stack.local.supervision import Phase, Supervisor
from control_room.stack.runtime import NotRunningError, StackError

_GONE_S: Final = 5.0
_STOPPED_S: Final = 40.0
"""More than supervisord waits before it kills a member that does not leave by itself."""
_SPAWN_S: Final = 10.0
_STILL_S: Final = 0.5


def start(layout: Layout, supervisor: Supervisor, members: list[str]) -> None:
    """Starts members that are down; returns when the processes run and are noted on disk.

    Raises:
        StackError: a member ends before it runs.
    """
    for member in members:
        if not layout.spec_file(member).is_file():
            raise NotRunningError(f"{member} was never started here; bring the stack up with `bruce-control up`")
        supervisor.start_member(member)
    deadline = time.monotonic() + _SPAWN_S
    for member in members:
        while not _runs_as_noted(layout, supervisor, member):
            if time.monotonic() > deadline:
                raise StackError(f"{member} does not start; look at {layout.log_file(member)}")
            time.sleep(0.02)


def _runs_as_noted(layout: Layout, supervisor: Supervisor, member: str) -> bool:
    seen = supervisor.members()[member]
    note = processes.read_note(layout.pid_file(member))
    return seen.pid is not None and note is not None and note.pid == seen.pid


def stop(layout: Layout, supervisor: Supervisor, members: list[str]) -> None:
    """Ends members as they end in order; frozen ones are thawed for it.

    Raises:
        StackError: a member is still there when even force should have ended it.
    """
    for member in members:
        takedown.thaw(layout, member)
        supervisor.stop_member(member)
    if not takedown.wait_stopped(supervisor, members, _STOPPED_S):
        raise StackError(f"{', '.join(members)} did not stop within {_STOPPED_S:.0f} s")
    takedown.kill_remnants(layout, members)


def kill(layout: Layout, supervisor: Supervisor, members: list[str]) -> None:
    """`kill -9` of all processes of each member, all members at once; they stay down until started.

    A member must neither be warned nor come back. So it is frozen first; then supervisord is told to stop it, and its
    SIGTERM stays pending; then SIGKILL ends it before it could see that. supervisord knows all along that it is to
    stay down, so there is no moment at which it would bring it back.
    """
    roots = {member: _root(layout, member) for member in members}
    doomed = {member: processes.freeze_tree(root) if root else [] for member, root in roots.items()}
    _wait_still([process for found in doomed.values() for process in found])
    supervised = supervisor.alive()
    for member in members:
        if supervised:
            supervisor.stop_member(member)
        processes.kill_all(doomed[member])
    for member in members:
        left = processes.wait_gone(doomed[member], _GONE_S)
        if left:
            raise StackError(f"{member}: the kernel does not end pid {left[0].pid}")
    takedown.kill_remnants(layout, members)  # one that came back between the look and the order to stay down
    if supervised and not takedown.wait_stopped(supervisor, members, _GONE_S):
        raise StackError(f"the supervisor has not noticed the end of {', '.join(members)}")


def crash(layout: Layout, supervisor: Supervisor, members: list[str]) -> None:
    """`kill -9` behind supervisord's back: it brings the members back. Those that are down stay down.

    Raises:
        NotRunningError: nobody is there to bring them back.
    """
    supervised = supervisor.members()
    doomed: list[psutil.Process] = []
    for member in members:
        root = _root(layout, member)
        if root is not None and supervised[member].phase in (Phase.RUNNING, Phase.STARTING):
            doomed += processes.freeze_tree(root)
    processes.kill_all(doomed)
    processes.wait_gone(doomed, _GONE_S)


def freeze(layout: Layout, members: list[str]) -> None:
    """SIGSTOP to every process of each member. Raises StackError for one that is not running."""
    for member in members:
        root = _root(layout, member)
        if root is None:
            raise StackError(f"{member} is not running, so there is nothing to freeze")
        _wait_still(processes.freeze_tree(root))


def thaw(layout: Layout, members: list[str]) -> None:
    """SIGCONT to every process of each member; one that is not running is left alone."""
    for member in members:
        takedown.thaw(layout, member)


def _root(layout: Layout, member: str) -> psutil.Process | None:
    note = processes.read_note(layout.pid_file(member))
    return note.process() if note else None


def _wait_still(frozen: list[psutil.Process]) -> None:
    """Waits until the signal has reached them all: one inside a write to disk takes a moment."""
    deadline = time.monotonic() + _STILL_S
    while time.monotonic() < deadline:
        if all(processes.is_frozen(process) or processes.is_gone(process) for process in frozen):
            return
        time.sleep(0.005)
