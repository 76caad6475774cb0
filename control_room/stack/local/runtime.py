"""The local runtime: the 11 members as processes of this machine, under one supervisord in the background."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from control_room.stack.links.client import Links
from control_room.stack.local import (
    bringup,
    clocks,
    errands,
    faults,
    full_disk,
    kafka_wipe,
    link_proxy,
    plan,
    postgres,
    processes,
    record,
    takedown,
    views,
)
from control_room.stack.local.layout import Layout
from control_room.stack.local.readiness import Probes
from control_room.stack.local.record import StackRecord
from control_room.stack.local.supervision import Supervisor
from control_room.stack.runtime import (
    MEMBERS,
    Endpoints,
    FreshKafka,
    MemberStatus,
    Narrate,
    NotRunningError,
    StackError,
)

_LOCK_WAIT_S: Final = 2.0


class LocalRuntime:
    """A stack on this machine, with everything it keeps under `state_dir`. See `Runtime` for what each method promises.

    Args:
        state_dir: the state folder; made by `up`.
        environ: what the user set: settings of the services, ports, secrets.
        member_commands: members that run another command than their own.
        links: whether the members dial through links that can be faulted; a stack that runs must have them then.
    """

    name = "local"

    def __init__(
        self,
        state_dir: Path,
        environ: Mapping[str, str] | None = None,
        member_commands: Mapping[str, Sequence[str]] | None = None,
        *,
        links: bool = False,
        why: str = "",
    ) -> None:
        self.why = why
        self.layout = Layout(state_dir.absolute())
        self._environ = dict(os.environ if environ is None else environ)
        self._commands = {member: list(command) for member, command in (member_commands or {}).items()}
        known(self._commands)
        self._links = links
        self._supervisor = Supervisor(self.layout)
        self._probes: Probes | None = None
        self._memories = processes.Memories()

    def up(self, narrate: Narrate) -> None:
        """Starts what is not running; returns when every member is ready."""
        narrate(f"runtime {self.name}: {self.why or 'asked for'}")
        self.layout.prepare()
        with self._locked("up"):
            errands.end_all(self.layout)
            started = self._plan_of_running(narrate) or self._begin(narrate)
            faults.thaw(self.layout, views.frozen(self.layout))
            link_proxy.bring_up(self.layout, started.record, self._supervisor)
            bringup.BringUp(started, self._supervisor, self._probes_for(started.record), narrate).run()

    def _begin(self, narrate: Narrate) -> plan.Plan:
        """Starts a supervisord that has everything to start the members with; ends what an earlier one has left."""
        with contextlib.suppress(NotRunningError):
            takedown.stop_all(self.layout, self._supervisor, narrate)
        takedown.clean_orphans(self.layout, narrate)
        fresh = plan.make(self.layout, self._environ, self._commands, narrate, links=self._links)
        fresh.brokers(narrate)  # without Kafka's jars nothing is started at all
        bringup.configure(fresh)
        self._supervisor.start(self._environ)
        fresh.record.but(started=True).save(self.layout)
        return fresh

    def _plan_of_running(self, narrate: Narrate) -> plan.Plan | None:
        """The plan that the running stack was started by: an `up` changes nothing about it. None where none runs.

        A supervisord without a record is one whose `up` was killed before it could note that it has started it.
        """
        found = StackRecord.load(self.layout)
        if found is None or not found.started or not self._supervisor.alive():
            return None
        if self._commands and self._commands != found.replaced:
            raise StackError("the stack is running with other commands than these; take it down first to replace some")
        if self._links and not found.links:
            raise StackError(
                "the stack was started without --links; take it down first: `bruce-control down`, then "
                "`bruce-control up --links`"
            )
        if plan.settings_sum(self._environ, self._commands or found.replaced) != found.settings_sum:
            narrate("the stack is running with other settings than these; take it down first to change them")
        place = postgres.locate(self.layout, narrate)
        secret = record.kept_hmac_secret(self.layout) or ""
        password = record.kept_postgres_password(self.layout)
        return plan.Plan(self.layout, found, self._environ, secret, password, place)

    def down(self, narrate: Narrate, *, volumes: bool = False) -> None:
        """Stops everything; with `volumes` deletes the data too, but no run."""
        if not self.layout.state.is_dir():
            narrate(f"nothing to take down: there is no {self.layout.state}")
            return
        with self._locked("down"):
            with contextlib.suppress(NotRunningError):
                takedown.stop_all(self.layout, self._supervisor, narrate)
            self._supervisor.end(timeout_s=5.0)
            takedown.clean_orphans(self.layout, narrate)
            if volumes:
                postgres.forget(self.layout)
                takedown.delete_data(self.layout)
            elif (found := StackRecord.load(self.layout)) is not None:
                found.but(started=False).save(self.layout)
        narrate("the stack is down" + (", its data is deleted" if volumes else ""))

    def start(self, members: Iterable[str]) -> None:
        """Starts members that are down; returns when their processes run."""
        wanted = known(members)
        if kafka_wipe.unformatted(self.layout, wanted):
            kafka_wipe.make_good(self._running_plan())
        faults.start(self.layout, self._supervisor, wanted)

    def wipe_kafka(self) -> FreshKafka:
        """Makes Kafka anew; its brokers stay down until started."""
        with self._locked("wipe Kafka"):
            return kafka_wipe.wipe(self._running_plan(), self._supervisor)

    def disk_full_unavailable(self) -> str | None:
        """Why one member's disk cannot be filled here."""
        return full_disk.unavailable()

    def fill_disk(self, member: str) -> int:
        """Lets `member` write nothing more."""
        return full_disk.fill(self.layout, *known([member]))

    def free_disk(self, member: str) -> None:
        """Lets it write again."""
        full_disk.free(self.layout, *known([member]))

    def disk_is_full(self, member: str) -> bool:
        """Whether it is full for `member`."""
        return full_disk.is_full(self.layout, *known([member]))

    def clock_step_unavailable(self) -> str | None:
        """Why no member can have a clock of its own here."""
        return clocks.unavailable(self._environ)

    def give_own_clock(self, member: str) -> None:
        """Restarts `member` with it."""
        clocks.put_under(self.layout, self._running_plan().postgres, known([member])[0], self._environ)
        self.restart([member])

    def step_clock(self, member: str, offset_s: float) -> None:
        """Steps it under the running member."""
        clocks.step(self.layout, known([member])[0], offset_s)

    def take_own_clock(self, member: str) -> None:
        """Restarts `member` without its own where it is up."""
        clocks.release(self.layout, *known([member]))
        if self._supervisor.members()[member].told_to_run:
            self.restart([member])
        clocks.sweep(self.layout, member)

    def has_own_clock(self, member: str) -> bool:
        """Whether it has, or will have at its next start."""
        return clocks.is_under(self.layout, *known([member]))

    def _running_plan(self) -> plan.Plan:
        found = self._plan_of_running(lambda _: None)
        if found is None:
            raise NotRunningError(
                f"no stack is running with its state in {self.layout.state}; start one with `bruce-control up`"
            )
        return found

    def stop(self, members: Iterable[str]) -> None:
        """Ends members in order, one after the other; they stay down."""
        for member in known(members):
            faults.stop(self.layout, self._supervisor, [member])

    def kill(self, members: Iterable[str]) -> None:
        """`kill -9` of all processes of each member; they stay down until started."""
        faults.kill(self.layout, self._supervisor, known(members))

    def crash(self, members: Iterable[str]) -> None:
        """`kill -9`, and the supervision brings them back."""
        faults.crash(self.layout, self._supervisor, known(members))

    def freeze(self, members: Iterable[str]) -> None:
        """SIGSTOP to every process of each member."""
        faults.freeze(self.layout, known(members))

    def thaw(self, members: Iterable[str]) -> None:
        """SIGCONT to every process of each member."""
        faults.thaw(self.layout, known(members))

    def restart(self, members: Iterable[str]) -> None:
        """A clean stop, then a start, one member after the other."""
        for member in known(members):
            faults.stop(self.layout, self._supervisor, [member])
            faults.start(self.layout, self._supervisor, [member])

    def status(self) -> list[MemberStatus]:
        """All members, in the order of MEMBERS."""
        found = StackRecord.load(self.layout)
        if found is None or not found.ports:
            return views.nothing()
        return views.status(self.layout, self._supervisor, self._probes_for(found), self._memories)

    def log_paths(self, member: str) -> list[Path]:
        """The member's log files, oldest first."""
        return views.log_paths(self.layout, *known([member]))

    def endpoints(self) -> Endpoints:
        """Where everything answers."""
        return views.endpoints(self._record(), record.kept_postgres_password(self.layout))

    def crash_points(self) -> Path | None:
        """Where crash points are armed; None where there are none."""
        return self.layout.crash_dir if self._record().crash_points else None

    def settings(self) -> Mapping[str, str]:
        """What the user set when the stack was started."""
        return self._record().settings

    def links(self) -> Links | None:
        """How links are faulted; None where there are none."""
        return link_proxy.of(self.layout, self._record())

    def secret(self) -> str:
        """The HMAC_SECRET of the stack."""
        self._record()
        kept = record.kept_hmac_secret(self.layout)
        if kept is None:
            raise NotRunningError(
                f"no secret is kept under {self.layout.state}; start the stack with `bruce-control up`"
            )
        return kept

    def _record(self) -> StackRecord:
        found = StackRecord.load(self.layout)
        if found is None or not found.started:
            raise NotRunningError(
                f"no stack is running with its state in {self.layout.state}; start one with `bruce-control up`"
            )
        return found

    def _probes_for(self, found: StackRecord) -> Probes:
        if self._probes is None or self._probes.ports != found.ports or self._probes.kafka.kafka_topic != found.topic:
            self._probes = Probes(found.ports, views.kafka_settings(found))
        return self._probes

    @contextlib.contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        """Holds the stack for `up` or `down`; a second one that comes meanwhile is told so.

        A file that cannot be read or written (no permission, no room) becomes a StackError that names it.
        """
        try:
            descriptor = os.open(self.layout.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _wait_for(lambda: _try_lock(descriptor), what, self.layout.state)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise StackError(f"`{what}` cannot go on: {error.strerror or error}{where}") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(got: Callable[[], bool], what: str, state: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while not got():
        if time.monotonic() > deadline:
            raise StackError(
                f"cannot {what}: another `bruce-control up` or `down` is at work on {state}; wait until it is done"
            )
        time.sleep(0.05)


def known(members: Iterable[str]) -> list[str]:
    """The names as a list, each once.

    Raises:
        StackError: a name that is no member; the message lists those there are.
    """
    names = list(dict.fromkeys(members))
    unknown = [name for name in names if name not in MEMBERS]
    if unknown:
        raise StackError(f"there is no member {', '.join(unknown)}; the members are {', '.join(MEMBERS)}")
    return names
