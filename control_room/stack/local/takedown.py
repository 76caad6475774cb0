"""`down`, and cleaning up after a supervisord that died: in the end no process of the stack is left."""

from __future__ import annotations

import shutil
import signal
import time
from typing import Final

import psutil

from control_room.stack.local import errands, launch, processes
from control_room.stack.local.layout import Layout
from control_room.stack.local.supervision import LINKS, SUPERVISOR, Phase, Supervisor
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, Narrate

_WAVES: Final = (
    ("dispatcher", "outbox-publisher", "nginx"),
    (*API_REPLICAS, "merchant-server"),
    ("postgres", *BROKERS),
)
"""What works stops before what it needs, so that it can finish in order."""
_WAVE_S: Final = (15.0, 12.0, 8.0)
"""How long each wave may take before it is killed. Three brokers that leave together cannot all leave in order (the
last has no quorum to tell). What was acknowledged lies in two logs, and a killed broker recovers its own later."""
_ORPHAN_GRACE_S: Final = 6.0
_CLEAN_END: Final = {"postgres": signal.SIGINT, "nginx": signal.SIGQUIT}


def stop_all(layout: Layout, supervisor: Supervisor, narrate: Narrate) -> None:
    """Stops every member in order, and supervisord (with the proxy of the links) last.

    Frozen members are thawed first: they could not leave.
    """
    for wave, timeout_s in zip(_WAVES, _WAVE_S, strict=True):
        running = [name for name, seen in supervisor.members().items() if name in wave and seen.told_to_run]
        if not running:
            continue
        narrate(f"stopping {', '.join(running)}")
        for member in running:
            thaw(layout, member)
            supervisor.stop_member(member)
        if not wait_stopped(supervisor, running, timeout_s):
            kill_remnants(layout, running)
    supervisor.end()


def wait_stopped(supervisor: Supervisor, members: list[str], timeout_s: float) -> bool:
    """Waits until supervisord has seen the end of all `members`; whether it has within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        seen = supervisor.members()
        if all(not seen[name].told_to_run and seen[name].phase is not Phase.STOPPING for name in members):
            return True
        time.sleep(0.05)
    return False


def thaw(layout: Layout, member: str) -> list[psutil.Process]:
    """SIGCONT to every process of a member; those that got it."""
    note = processes.read_note(layout.pid_file(member))
    root = note.process() if note else None
    found = processes.tree(root) if root else []
    processes.send(found, signal.SIGCONT)
    return found


def remnants(layout: Layout, member: str) -> list[psutil.Process]:
    """What is alive of a member: its tree, or the survivors of its process group where its first process is gone."""
    note = processes.read_note(layout.pid_file(member))
    if note is None:
        return []
    root = note.process()
    if root is not None:
        return processes.tree(root)
    same_boot = note.mark.partition(":")[0] == launch.start_mark().partition(":")[0]
    if not same_boot or psutil.pid_exists(note.pid):
        return []
    # A group keeps its number from being given to a new process, so whoever is still in it belongs to the member.
    return processes.group(note.pid)


def kill_remnants(layout: Layout, members: list[str]) -> None:
    """SIGKILL to whatever is alive of `members`; returns when it is gone."""
    for member in members:
        left = remnants(layout, member)
        processes.kill_all(left)
        processes.wait_gone(left, 5.0)


def clean_orphans(layout: Layout, narrate: Narrate) -> None:
    """Ends what a supervisord that died has left behind: in order where it obeys, by force where not.

    They are not taken over: their output goes to a pipe that nobody reads any more, and nothing would bring them back.
    """
    errands.end_all(layout)
    everyone = [*MEMBERS, LINKS, SUPERVISOR]
    found = {member: remnants(layout, member) for member in everyone}
    alive = {member: left for member, left in found.items() if left}
    if alive:
        narrate(f"the supervisor is gone; ending what it left behind: {', '.join(alive)}")
    for member, left in alive.items():
        processes.send(left, signal.SIGCONT)
        processes.send(left[:1], _CLEAN_END.get(member, signal.SIGTERM))
    processes.wait_gone([process for left in alive.values() for process in left], _ORPHAN_GRACE_S)
    kill_remnants(layout, list(alive))
    for member in everyone:
        layout.pid_file(member).unlink(missing_ok=True)


def delete_data(layout: Layout) -> None:
    """Deletes everything of the stack under its state folder, but the runs."""
    own = (layout.kafka_dir, layout.nginx_dir, layout.logs_dir, layout.run_dir, layout.secrets_dir)
    for folder in (*own, layout.ledger_file.parent, layout.state / "postgres"):
        shutil.rmtree(folder, ignore_errors=True)
    if layout.supervisor_socket.parent != layout.run_dir:
        shutil.rmtree(layout.supervisor_socket.parent, ignore_errors=True)
    layout.record_file.unlink(missing_ok=True)
