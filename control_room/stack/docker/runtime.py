"""The docker runtime: the members as containers of one Compose project. See `Runtime` for what each method promises."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import docker

from control_room.stack.docker import compose, engine, faults, kafka_wipe, link_proxy, ports, views
from control_room.stack.docker.engine import Container
from control_room.stack.docker.further import FurtherFaults
from control_room.stack.docker.logs import LogFiles
from control_room.stack.docker.usage import Usage
from control_room.stack.links.client import Links
from control_room.stack.local import record
from control_room.stack.local.environment import given
from control_room.stack.local.layout import Layout, read_json, write_json
from control_room.stack.local.readiness import Probes
from control_room.stack.local.runtime import known
from control_room.stack.local.supervision import last_lines
from control_room.stack.runtime import (
    MEMBERS,
    RECORDS,
    Endpoints,
    MemberStatus,
    Narrate,
    NotRunningError,
    StackError,
    State,
)

DEFAULT_PROJECT: Final = "bruce"
PROJECT: Final = "COMPOSE_PROJECT_NAME"
_READY_DEADLINE_S: Final = 240.0
_LOOK_EVERY_S: Final = 0.5
_TELL_EVERY_S: Final = 3.0
_STOP_GRACE_S: Final = 15
_LOG_LINES: Final = 12
_LOOK_HOLDS_S: Final = 0.3
_NO_LOOK: Final = (float("-inf"), dict[str, dict[str, Any] | None]())


class DockerRuntime(FurtherFaults):
    """One Compose project and what the control room keeps of it under `state_dir`.

    Args:
        state_dir: the state folder: runs, secrets, fetched logs.
        environ: what the user set: settings of the services, ports, secrets, COMPOSE_PROJECT_NAME.
        links: whether the members dial through links that can be faulted; a stack that is there must have them then.
        why: why this runtime was chosen.
    """

    name = "docker"

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
        self._environ = dict(os.environ if environ is None else environ)
        self.project = self._environ.get(PROJECT, "").strip() or DEFAULT_PROJECT
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.project):
            raise StackError(f"{PROJECT} must be lower-case letters, digits, dashes and underscores ({self.project!r})")
        if member_commands:
            raise StackError("--replace is for the local runtime: build another image, or use --runtime local")
        self.layout = Layout(state_dir.absolute())
        self._kept_file = self.layout.state / RECORDS[self.name]
        self._kept: dict[str, Any] = read_json(self._kept_file) or {}
        self._links = links
        self._logs = LogFiles(self.layout.state / "docker-logs")
        self._usage = Usage()
        self._inspections = engine.Inspections()
        self._look: tuple[float, dict[str, dict[str, Any] | None]] = _NO_LOOK
        self._links_found: dict[str, Any] | None = None
        self._client: docker.DockerClient | None = None
        self._probes: Probes | None = None

    def up(self, narrate: Narrate) -> None:
        """Builds what is missing, starts what is not running; returns when every member is ready.

        Containers that are there are taken as they are, however they were started: Compose would make them anew for
        every difference between these settings and theirs.
        """
        narrate(f"runtime {self.name}: {self.why or 'asked for'}")
        engine.require_compose()
        self._engine()
        self.layout.prepare()
        there = self._all()
        links = self._links_found is not None or (self._links and not any(there.values()))
        if self._links and not links:
            raise StackError(
                "the stack was started without --links; take it down first: `bruce-control down`, then "
                "`bruce-control up --links`"
            )
        if not all(there.values()):
            environ = self._compose_environ(links=links)
            compose.run(self.project, ["up", "--detach", "--build"], environ, narrate, links=links)
            self._look_again()
        self._start_links()
        stopped = [name for name, found in self._all().items() if views.state_of(found) is State.STOPPED]
        self.start(stopped)
        self.thaw(name for name, found in self._all().items() if found)
        self._wait_until_ready(narrate)

    def _start_links(self) -> None:
        """Before the members: who finds a door closed would count its server as dead."""
        self._all()
        if self._links_found is not None and not self._links_found["State"]["Running"]:
            with engine.explained(link_proxy.SERVICE):
                self._engine().api.start(self._links_found["Id"])
            self._look_again()

    def _compose_environ(self, *, links: bool) -> dict[str, str]:
        """What Compose fills its file in with: the user's settings, and secrets that are kept where none is given."""
        given(self._environ)  # a wrong value of CRASH_POINTS stops here
        running = self._variables("ingestion-api-1")
        filled = {**self._environ, **({} if running else ports.chosen(self._environ, links=links))}
        if not filled.get("HMAC_SECRET_FILE"):
            filled["HMAC_SECRET"] = running.get("HMAC_SECRET") or record.hmac_secret(self.layout, self._environ)
        if not filled.get("POSTGRES_PASSWORD_FILE"):
            kept = running.get("POSTGRES_PASSWORD")
            filled["POSTGRES_PASSWORD"] = kept or record.postgres_password(self.layout, self._environ, has_data=True)
        filled |= kafka_wipe.kept(self.layout)
        if self._environ.get("CRASH_POINTS", "").strip() == "1":
            folder = self.layout.crash_dir
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # the services in their containers are another user, and take an armed file away
            filled["BRUCE_CRASH_DIR"] = str(folder)
        filled.pop("CRASH_POINTS", None)
        return filled

    def _wait_until_ready(self, narrate: Narrate) -> None:
        began = told = time.monotonic()
        while True:
            waiting = {one.name: one.reason for one in self.status() if not one.ready}
            if not waiting and not (late := self._probes_now().topics_in_sync()):
                narrate(f"every member is ready ({time.monotonic() - began:.1f} s)")
                return
            now_s = time.monotonic()
            if now_s - began > _READY_DEADLINE_S:
                self._give_up(waiting or {"kafka-1": late})
            if now_s - told >= _TELL_EVERY_S:
                told = now_s
                words = ", ".join(f"{name} ({why})" for name, why in waiting.items()) or late
                narrate(
                    f"{now_s - began:.0f} s, {len(MEMBERS) - len(waiting)} of {len(MEMBERS)} ready; waiting for {words}"
                )
            time.sleep(_LOOK_EVERY_S)

    def _give_up(self, waiting: Mapping[str, str]) -> None:
        member, why = next(iter(waiting.items()))
        paths = self.log_paths(member)
        lines = last_lines(paths[-1], _LOG_LINES) if paths else []
        said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        raise StackError(f"{member} is not ready after {_READY_DEADLINE_S:.0f} s: {why}. The end of its log:\n{said}")

    def down(self, narrate: Narrate, *, volumes: bool = False) -> None:
        """Takes the project's containers and network away; with `volumes` its data too."""
        engine.require_compose()
        self._engine()
        filled = {"HMAC_SECRET": "-", "POSTGRES_PASSWORD": "-", **self._environ}  # asked for by the file, not used
        words = ["down", "--remove-orphans", *(["--volumes"] if volumes else [])]
        compose.run(self.project, words, filled, narrate, links=True)
        self._look_again()
        self._kept_file.unlink(missing_ok=True)
        if volumes:
            kafka_wipe.forget(self.layout)
        self._kept = {}
        narrate("the stack is down" + (", its data is deleted" if volumes else ""))

    def start(self, members: Iterable[str]) -> None:
        """Starts containers that are down."""

        def start(client: docker.DockerClient, one: Container) -> None:
            found = engine.inspected(client, one)
            if found is not None and not found["State"]["Running"]:
                self._keep(restarts={**self._restarts(), one.member: self._restarts_of(one.member, found)})
                client.api.start(one.id)
                self._started(client, one)

        self._each(members, start)

    def stop(self, members: Iterable[str]) -> None:
        """Ends members in order, one after the other; they stay down."""
        self._each(members, lambda client, one: client.api.stop(one.id, timeout=_STOP_GRACE_S))

    def kill(self, members: Iterable[str]) -> None:
        """`docker kill`: all processes of each container; no restart policy brings them back."""

        self._each(members, faults.kill)

    def crash(self, members: Iterable[str]) -> None:
        """`kill -9` inside the container: its restart policy brings it back."""

        self._each(members, faults.crash)

    def freeze(self, members: Iterable[str]) -> None:
        """`docker pause`."""

        self._each(members, faults.freeze)

    def thaw(self, members: Iterable[str]) -> None:
        """`docker unpause` of those that are paused."""

        self._each(members, faults.thaw)

    def restart(self, members: Iterable[str]) -> None:
        """A clean stop, then a start, one member after the other."""
        for member in dict.fromkeys(members):
            self.stop([member])
            self.start([member])

    def status(self) -> list[MemberStatus]:
        """All members, in the order of MEMBERS, and after them the replicas that `--scale` has added."""
        try:
            client, found = self._engine(), self._all()
        except StackError as error:
            return [MemberStatus(name, State.STOPPED, ready=False, reason=str(error)) for name in MEMBERS]
        if not any(found.values()):
            return [MemberStatus(name, State.STOPPED, ready=False, reason="not started") for name in MEMBERS]
        asked = [name for name in MEMBERS if views.state_of(found[name]) is State.RUNNING]
        answers: dict[str, str | None] = dict.fromkeys(asked, "starting")
        if self._has_all_ports():
            answers |= self._probes_now().ask(asked)
        answers |= {name: views.unhealthy(one) for name, one in found.items() if one and name not in MEMBERS}
        alive = {one["Id"]: int(one["State"]["Pid"]) for one in found.values() if one and one["State"]["Running"]}
        usage = self._usage.of(client, alive)
        return [
            views.member_status(
                client, name, one, answers.get(name), usage.get(one["Id"], (0.0, 0)), self._restarts_of(name, one)
            )
            if one
            else MemberStatus(name, State.STOPPED, ready=False, reason="not started")
            for name, one in found.items()
        ]

    def log_paths(self, member: str) -> list[Path]:
        """The member's log, fetched into files."""
        client = self._engine()
        found = engine.members(client, self.project)
        (name,) = _known([member], found)
        paths = self._logs.paths(client, found[name]) if name in found else []
        self._logs.follow(client, lambda: engine.members(client, self.project))
        return paths

    def endpoints(self) -> Endpoints:
        """Where everything answers."""
        there = self._all()
        variables = self._started_with()
        ports = {name: port for name, port in self._ports().items() if name in there}
        return views.endpoints(ports, variables, self._secret(variables, "POSTGRES_PASSWORD"))

    def crash_points(self) -> Path | None:
        """Where crash points are armed; None where there are none."""
        return self.layout.crash_dir if self._started_with().get("CRASH_POINTS") else None

    def settings(self) -> Mapping[str, str]:
        """What the user set when the stack was started."""
        return given({**self._started_with(), "CRASH_POINTS": "1" if self.crash_points() else ""})

    def links(self) -> Links | None:
        """How links are faulted; None where there are none."""
        self._all()
        return link_proxy.of(self._links_found)

    def secret(self) -> str:
        """The HMAC_SECRET of the stack."""
        return self._secret(self._started_with(), "HMAC_SECRET")

    def _secret(self, variables: Mapping[str, str], name: str) -> str:
        path = self._environ.get(f"{name}_FILE")
        if variables.get(f"{name}_FILE") and path:
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise StackError(f"{name}_FILE: {path} cannot be read: {error.strerror}") from error
        return views.secret_in(variables, name, self.project)

    def _started_with(self) -> dict[str, str]:
        variables = self._variables("dispatcher")
        if not variables:
            raise NotRunningError(f"no stack of the project {self.project} is there; start one with `bruce-control up`")
        return variables

    def _variables(self, member: str) -> dict[str, str]:
        found = self._all().get(member)
        return views.variables(found) if found else {}

    def _engine(self) -> docker.DockerClient:
        if self._client is None:
            self._client = engine.connect(self._environ)
        return self._client

    def _all(self) -> dict[str, dict[str, Any] | None]:
        """What the engine knows of each member's container; keeps the ports of those that run.

        A look serves for _LOOK_HOLDS_S, unless something was done meanwhile: many ask at the same moment.
        """
        looked_s, found = self._look
        if time.monotonic() - looked_s < _LOOK_HOLDS_S:
            return found
        client = self._engine()
        every = engine.containers(client, self.project)
        proxy = every.get(link_proxy.SERVICE)
        self._links_found = self._inspections.of(client, proxy) if proxy else None
        there = engine.members_among(every)
        names = (*MEMBERS, *sorted(set(there) - set(MEMBERS)))
        found = {name: self._inspections.of(client, there[name]) if name in there else None for name in names}
        seen = {name: port for name, one in found.items() if one and (port := views.port_of(name, one))}
        if seen and (fresh := {**self._ports(), **seen}) != self._ports():
            self._keep(ports=fresh)
        self._look = (time.monotonic(), found)
        return found

    def _look_again(self) -> None:
        """Something was done."""
        self._look = _NO_LOOK
        self._inspections.forget()

    def _keep(self, **facts: dict[str, int]) -> None:
        self._kept = {**self._kept, **facts}
        self.layout.state.mkdir(parents=True, exist_ok=True)
        write_json(self._kept_file, self._kept)

    def _restarts(self) -> dict[str, int]:
        return dict(self._kept.get("restarts", {}))

    def _restarts_of(self, member: str, found: Mapping[str, Any]) -> int:
        """How often it came back by itself: the engine begins to count anew whenever somebody starts it."""
        return self._restarts().get(member, 0) + int(found.get("RestartCount", 0))

    def _ports(self) -> dict[str, int]:
        return dict(self._kept.get("ports", {}))

    def _has_all_ports(self) -> bool:
        return set(views.CONTAINER_PORTS) <= set(self._ports())

    def _probes_now(self) -> Probes:
        where = self._ports()
        if self._probes is None or self._probes.ports != where:
            self._probes = Probes(where, views.kafka_settings(where, self._variables("dispatcher")))
        return self._probes

    def _each(self, members: Iterable[str], do: Callable[[docker.DockerClient, Container], None]) -> None:
        """Does it to each member's container, one after the other."""
        client = self._engine()
        there = engine.members(client, self.project)
        for member in _known(members, there):
            if member not in there:
                raise NotRunningError(f"{member} has no container; start the stack with `bruce-control up`")
            try:
                with engine.explained(member):
                    do(client, there[member])
            finally:
                self._look_again()


def _known(members: Iterable[str], there: Iterable[str]) -> list[str]:
    """The names as a list, each once; replicas that `--scale` has added are members too. Raises StackError."""
    names = list(dict.fromkeys(members))
    known(name for name in names if name not in there)
    return names
