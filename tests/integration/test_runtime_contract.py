"""What every runtime promises, on a stack that really runs: `local`, or `docker` where BRUCE_TEST_RUNTIME says so."""

import contextlib
import socket
import time

import psycopg
import pytest
import requests

from control_room.stack.runtime import MEMBERS, StackError, State
from control_room.tracking.evidence import RunFollower
from control_room.tracking.kafka_view import KafkaReader
from control_room.tracking.parts import SourceError
from tests.integration.conftest import member
from tests.integration.fixtures_stores import until
from tests.unit.histories import History


def test_up_returns_when_every_member_is_ready(stack):
    seen = stack.status()
    assert [one.name for one in seen] == list(MEMBERS)
    assert [(one.name, one.reason) for one in seen if not one.ready or one.state is not State.RUNNING] == []
    where = stack.endpoints()
    assert requests.get(f"{where.api_url}/readyz", timeout=5).status_code == 200
    assert set(requests.get(where.dispatcher_status_url, timeout=5).json()["assigned"]) != set()
    with psycopg.connect(where.postgres_conninfo) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_kafka_itself_tells_the_groups_members_and_what_they_hold(stack):
    reader = KafkaReader(stack.endpoints())
    until(lambda: reader.read().group_state == "Stable")
    told = reader.read()
    assert sorted(number for each in told.members for number in each.partitions) == [0, 1, 2]
    assert [each.name.partition(".")[0] for each in told.members] == ["dispatcher"]
    assert reader.group_coordinator() in told.brokers


def test_brokers_that_answer_are_asked_over_the_connections_that_stand(stack, monkeypatch):
    """To open one and to close it costs a broker a third of what it does to answer."""
    reader = KafkaReader(stack.endpoints(), rare_s=3600.0)
    assert reader.read().controller in (1, 2, 3)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a connection is opened"))
    told = reader.read()
    assert (told.notes, told.controller in told.brokers, told.group_state != "") == ((), True, True)


def test_a_cluster_that_is_gone_is_noticed_at_the_next_look_and_found_again_by_itself(healed):
    reader = KafkaReader(healed.endpoints())
    assert reader.read().brokers == (1, 2, 3)
    healed.kill(["kafka-1", "kafka-2", "kafka-3"])
    for why in ("no broker answers", "none of the ports listens"):
        with pytest.raises(SourceError, match=why):
            reader.read()
    healed.start(["kafka-1", "kafka-2", "kafka-3"])

    def found():
        with contextlib.suppress(SourceError):
            return reader.read().brokers == (1, 2, 3)

    until(found, 60, "all three brokers")


def test_status_tells_what_each_member_costs(stack):
    seen = stack.status()
    assert all(one.pid and one.started_at_s and one.cpu_s > 0 and one.memory_bytes > 1_000_000 for one in seen)
    assert sum(one.memory_bytes for one in seen) < 1.6 * 2**30


def test_two_brokers_are_killed_at_once_and_come_back_in_sync(healed):
    healed.kill(["kafka-1", "kafka-3"])
    assert [member(healed, name).state for name in ("kafka-1", "kafka-3")] == [State.STOPPED] * 2
    healed.start(["kafka-1", "kafka-3"])
    until(lambda: all(member(healed, name).ready for name in ("kafka-1", "kafka-2", "kafka-3")), 60, "in sync")


def test_a_crashed_member_comes_back_by_itself(healed):
    before = {name: member(healed, name) for name in ("postgres", "outbox-publisher")}
    healed.crash(before)
    for name, was in before.items():
        after = until(lambda name=name: (seen := member(healed, name)).ready and seen, 40, f"{name} back")
        assert after.pid != was.pid
        assert after.restarts == was.restarts + 1


def test_a_frozen_member_is_seen_as_frozen_and_thaws_as_it_was(healed):
    before = member(healed, "ingestion-api-2")
    healed.freeze(["ingestion-api-2"])
    frozen = member(healed, "ingestion-api-2")
    assert (frozen.state, frozen.ready, frozen.pid) == (State.FROZEN, False, before.pid)
    assert requests.get(f"{healed.endpoints().api_url}/healthz", timeout=40).status_code == 200
    healed.thaw(["ingestion-api-2"])
    until(lambda: member(healed, "ingestion-api-2").ready, 20, "thawed")
    assert member(healed, "ingestion-api-2").pid == before.pid


def test_a_frozen_member_can_be_stopped_and_up_starts_it_again(healed):
    healed.freeze(["outbox-publisher"])
    healed.stop(["outbox-publisher"])
    assert member(healed, "outbox-publisher").state is State.STOPPED
    healed.up(print)
    assert member(healed, "outbox-publisher").ready


def test_restart_gives_a_new_process_and_counts_as_no_crash(healed):
    before = member(healed, "merchant-server")
    healed.restart(["merchant-server"])
    after = until(lambda: (seen := member(healed, "merchant-server")).ready and seen, 20, "merchant back")
    assert after.pid != before.pid
    assert after.restarts == before.restarts


def test_a_name_that_is_no_member_is_refused_with_those_there_are(stack):
    with pytest.raises(StackError, match=r"no member kafka-9.*kafka-1"):
        stack.kill(["kafka-9"])


def test_a_second_up_changes_nothing(stack):
    before = {one.name: (one.pid, one.started_at_s) for one in stack.status()}
    stack.up(print)
    assert {one.name: (one.pid, one.started_at_s) for one in stack.status()} == before


@pytest.mark.parametrize("name", ["dispatcher", "postgres", "kafka-2", "ingestion-api-1", "nginx"])
def test_a_killed_member_stays_dead_until_it_is_started(healed, name):
    before = member(healed, name)
    healed.kill([name])
    deadline = time.monotonic() + 2.5  # longer than the slowest look of any supervision
    while time.monotonic() < deadline:
        now = member(healed, name)
        assert (now.state, now.ready, now.pid) == (State.STOPPED, False, None)
        time.sleep(0.05)
    healed.start([name])
    after = until(lambda: (seen := member(healed, name)).ready and seen, 40, f"{name} ready")
    assert after.started_at_s > before.started_at_s
    assert after.restarts == before.restarts


def test_a_run_that_is_followed_sees_a_dispatcher_again_that_was_killed_and_started(healed, tmp_path):
    folder = History(tmp_path / "run").write(manifest=False)
    with RunFollower(healed.endpoints(), folder, record=False, where=healed.endpoints) as follower:

        def heard():
            follower.sample()
            return follower.heard("dispatcher")

        assert heard()
        healed.kill(["dispatcher"])
        until(lambda: not heard(), 20, "its silence")
        healed.start(["dispatcher"])
        until(heard, 40, "the dispatcher's words again")


def test_what_a_member_says_can_be_read_while_it_runs_and_when_it_is_dead(healed):
    before = _log(healed, "dispatcher")
    healed.restart(["dispatcher"])
    until(lambda: len(_log(healed, "dispatcher")) > len(before), 20, "what it says at its end and its start")
    alive = _log(healed, "dispatcher")
    healed.kill(["dispatcher"])
    assert _log(healed, "dispatcher").startswith(alive)


def _log(runtime, name):
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in runtime.log_paths(name))


def test_the_settings_and_the_secret_of_a_running_stack_are_known(stack):
    assert stack.settings()["FAILURE_RATE"] == "0"
    assert len(stack.secret()) >= 32
    assert stack.crash_points() is None
