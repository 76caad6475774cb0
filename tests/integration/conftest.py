"""The running stack that integration tests share, started once; and stacks of one's own."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from control_room.stack.local import LocalRuntime
from control_room.stack.local.environment import DECIDED_HERE, PASSED_ON
from control_room.stack.local.ports import GROUPS

_OF_A_STACK = {*PASSED_ON, *DECIDED_HERE, *(group.variable for group in GROUPS)}
_OF_A_STACK |= {"HMAC_SECRET", "KAFKA_TOPIC", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}


def clean_environment(**settings):
    """This process's environment without anything that would change a stack, plus `settings`."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_STACK} | settings


@pytest.fixture(scope="session")
def make_stack():
    """Makes a runtime over a fresh state folder: `make_stack(environ=…, member_commands=…, links=…)`.

    All are taken down.
    """
    made = []

    def make(state=None, *, environ=None, member_commands=None, links=False):
        folder = state or Path(tempfile.mkdtemp(prefix="bruce-test-"))
        settings = environ or clean_environment(FAILURE_RATE="0")
        runtime = LocalRuntime(folder, settings, member_commands, links=links)
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.down(print, volumes=True)
        shutil.rmtree(runtime.layout.state, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(make_stack):
    """The running stack: `stack.endpoints()`, `stack.secret()`. A test that kills a member starts it again."""
    runtime = make_stack()
    runtime.up(print)
    return runtime
