"""The external runtime. See `Runtime` for what each method promises; what would change a member is refused here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from control_room.stack.external.config import ExternalConfig
from control_room.stack.external.hooks import Hooks
from control_room.stack.external.probes import ExternalProbes, endpoints_of
from control_room.stack.external.reading import read_config
from control_room.stack.links.client import Links
from control_room.stack.local.readiness import SILENT
from control_room.stack.runtime import (
    MEMBERS,
    RECORDS,
    Endpoints,
    HookRun,
    MemberStatus,
    Narrate,
    NotRunningError,
    StackError,
    StackSettingsError,
    State,
)
from control_room.stack.select import EXTERNAL


class ExternalRuntime:
    """A stack that runs elsewhere, as a configuration file names it; of it only runs and faults are kept here.

    Args:
        state_dir: the state folder: runs, and the journal of faults.
        environ: holds BRUCE_EXTERNAL, the file's name, and the variables that the file names.
    """

    name = "external"

    def __init__(
        self, state_dir: Path, environ: Mapping[str, str] | None = None, *, why: str = "asked for", **options: object
    ) -> None:
        self.why = why
        env = dict(os.environ if environ is None else environ)
        if options:
            given = ", ".join("--replace" if name == "member_commands" else f"--{name}" for name in options)
            raise StackSettingsError(f"{given} is for a stack that the control room starts itself")
        if not env.get(EXTERNAL):
            raise StackSettingsError(f"say where the stack is: --external FILE, or {EXTERNAL}=FILE (docs/external.md)")
        path = Path(env[EXTERNAL]).expanduser().absolute()
        self.config: ExternalConfig = read_config(path, env)
        others = [name for name in RECORDS.values() if (state_dir / name).exists()]
        if others:
            raise StackSettingsError(
                f"{state_dir} is the state folder of a stack of this machine; give this one its own: "
                f"--state {state_dir}-{path.stem}"
            )
        self._path = path
        self._endpoints = endpoints_of(self.config)
        self._hooks = Hooks(self.config.hooks, path.parent, env)
        self._probes = ExternalProbes(self.config, self._endpoints)

    def up(self, narrate: Narrate) -> None:
        """Starts nothing; returns where every member is ready."""
        waiting = {one.name: one.reason for one in self.status() if not one.ready}
        if waiting:
            words = "\n".join(f"  {name}: {why}" for name, why in waiting.items())
            raise NotRunningError(f"not everything answers, and {_not_ours('start')}:\n{words}")
        narrate(f"nothing is started: the stack runs elsewhere ({self._path.name}); everything there answers")

    def down(self, narrate: Narrate, *, volumes: bool = False) -> None:
        """Takes nothing down. Raises StackError where data is to be deleted."""
        if volumes:
            raise StackError(f"no data is deleted: {_not_ours('delete')}")
        self._probes.close()
        narrate(f"nothing is taken down: {_not_ours('stop')}")

    def start(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("start", members)

    def stop(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("stop", members)

    def kill(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("kill", members)

    def crash(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("crash", members)

    def freeze(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("freeze", members)

    def thaw(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("thaw", members)

    def restart(self, members: Iterable[str]) -> None:
        """Refused."""
        self._refuse("restart", members)

    def _refuse(self, what: str, members: Iterable[str]) -> NoReturn:
        raise StackError(f"cannot {what} {', '.join(members)}: {_not_ours(what)}")

    def status(self) -> list[MemberStatus]:
        """The members that the configuration names, Postgres and the brokers; what they cost is not seen from here."""
        answers = self._probes.ask()
        known = sorted(answers, key=lambda name: (_place(name), name))
        return [MemberStatus(name, _state(answers[name]), not answers[name], answers[name]) for name in known]

    def log_paths(self, member: str) -> list[Path]:
        """None: their logs are elsewhere."""
        del member
        return []

    def endpoints(self) -> Endpoints:
        """Where everything answers."""
        return self._endpoints

    def crash_points(self) -> Path | None:
        """There are none."""
        return None

    def settings(self) -> Mapping[str, str]:
        """What its services were started with is not known here."""
        return {}

    def links(self) -> Links | None:
        """There are none."""
        return None

    def secret(self) -> str:
        """The HMAC_SECRET of the stack. Raises StackSettingsError where the configuration has none."""
        if not self.config.secret:
            raise StackSettingsError(f"{self._path} has no `secret` or `secret_file`: nothing can be signed without")
        return self.config.secret

    def unhooked(self, fault: str) -> str | None:
        """Why there is no such fault."""
        return self._hooks.missing(fault)

    def hook_timeout_s(self, fault: str) -> float:
        """How long its effect is waited for."""
        return self._hooks.timeout_s(fault)

    def run_hook(self, fault: str, part: str, target: str) -> HookRun:
        """Runs one of its commands."""
        return self._hooks.run(fault, part, target)


def _not_ours(what: str) -> str:
    return f"the members are not this control room's to {what}: the external runtime does not own them"


def _place(name: str) -> int:
    return MEMBERS.index(name) if name in MEMBERS else len(MEMBERS)


def _state(reason: str) -> State:
    """A member that says nothing counts as down; why, and whether somebody stopped it, is not seen from here."""
    if not reason:
        return State.RUNNING
    return State.STOPPED if reason.startswith(SILENT) else State.STARTING
