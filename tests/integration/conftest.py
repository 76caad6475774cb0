"""The running stack that integration tests share, started once; and stacks of one's own."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from control_room.stack.local import LocalRuntime
from control_room.stack.local.environment import DECIDED_HERE, PASSED_ON
from control_room.stack.local.ports import GROUPS

# Before a test imports it: as a plugin it has its assertions rewritten.
pytest.register_assert_rewrite("tests.integration.fixtures_secured")

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


def member(runtime, name):
    """What the runtime tells of one member."""
    return next(one for one in runtime.status() if one.name == name)


@pytest.fixture(scope="session")
def stack(request):
    """The running stack: `stack.endpoints()`, `stack.secret()`. A test that kills a member starts it again.

    Of the runtime that BRUCE_TEST_RUNTIME names: `local` unless it is set, else `docker`.
    """
    which = os.environ.get("BRUCE_TEST_RUNTIME", "local")
    assert which in ("local", "docker"), which
    runtime = request.getfixturevalue("make_stack" if which == "local" else "make_docker_stack")()
    runtime.up(print)
    return runtime


@pytest.fixture
def healed(stack):
    """The shared stack; whatever the test did to it is put right at its end."""
    yield stack
    stack.up(print)


@pytest.fixture(scope="session")
def make_docker_stack():
    """Makes a runtime over a project of its own, on ports of its own; all are taken down."""
    from control_room.stack.docker import DockerRuntime

    made = []

    def make(**settings):
        folder = Path(tempfile.mkdtemp(prefix="bruce-test-"))
        environ = clean_environment(FAILURE_RATE="0", COMPOSE_PROJECT_NAME=folder.name.lower(), **settings)
        runtime = DockerRuntime(folder, environ)
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.down(print, volumes=True)
        shutil.rmtree(runtime.layout.state, ignore_errors=True)
