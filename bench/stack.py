"""Bruce on the local runtime, as a user starts it, its webhooks pointed at the bench's receiver."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.adapters import Target
from bench.measure import Say
from bench.receiver import Receiver
from control_room.stack.runtime import NotRunningError, Runtime, StackError
from control_room.stack.select import open_runtime


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that is up."""

    runtime: Runtime
    up_s: float
    """How long `up` took until every member was ready."""

    def target(self) -> Target:
        """As the bench sees it: the door, the secret, and the members that run now."""
        endpoints = self.runtime.endpoints()
        pids = {member.name: member.pid for member in self.runtime.status() if member.pid is not None}
        return Target("bruce", endpoints.api_url, {"secret": self.runtime.secret()}, pids)

    def settings(self) -> Mapping[str, str]:
        """What was set for the services; the rest has its defaults."""
        return self.runtime.settings()


@contextmanager
def running_stack(state_dir: Path, receiver: Receiver | None, settings: Mapping[str, str], say: Say) -> Iterator[Stack]:
    """A stack of its own at `state_dir`, taken down at the end.

    Args:
        state_dir: a folder in which no stack runs; its data goes at the end.
        receiver: where webhooks go; None: to the stack's own merchant-server.
        settings: further settings of the services, by variable.
        say: told of the progress.

    Raises:
        StackError: one runs there already, or it does not come up.
    """
    webhooks = {} if receiver is None else {"WEBHOOK_URL": receiver.url}
    runtime = open_runtime("local", state_dir, {**os.environ, **settings, **webhooks})
    _refuse_a_running_one(runtime, state_dir)
    began_s = time.monotonic()
    try:
        runtime.up(say)
        yield Stack(runtime, round(time.monotonic() - began_s, 1))
    finally:
        runtime.down(say, volumes=True)


def _refuse_a_running_one(runtime: Runtime, state_dir: Path) -> None:
    try:
        runtime.endpoints()
        runs = any(member.pid is not None for member in runtime.status())
    except NotRunningError:
        return
    if runs:
        raise StackError(
            f"A stack runs at {state_dir}. The bench needs its own: take it down, or give another --state."
        )
