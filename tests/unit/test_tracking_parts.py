"""A source that is dead, slow or wrong costs its own figures and nothing else."""

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from control_room.chaos.observe import answers
from control_room.tracking.http_source import fetch_json
from control_room.tracking.kafka_view import KafkaReader, _Asked
from control_room.tracking.kafka_wire import quorum_leader
from control_room.tracking.parts import Part, SourceError, gather
from control_room.tracking.pipeline import pipeline_status
from control_room.tracking.text import harmless
from tests.unit.member_processes import ProcessRuntime, free_port, wait_until


def test_sources_are_read_side_by_side_and_none_is_waited_for_beyond_the_deadline():
    hang = threading.Event()
    both = threading.Barrier(2, timeout=5)
    sources = {
        "a": both.wait,
        "b": both.wait,
        "hangs": lambda: hang.wait(30),
        "fails": lambda: (_ for _ in ()).throw(SourceError("it is dead\nand more")),
    }
    started = time.monotonic()
    parts = gather(sources, 0.5)
    assert time.monotonic() - started < 2
    hang.set()
    assert parts["a"].ok
    assert parts["b"].ok
    assert parts["fails"] == Part(None, "it is dead")
    assert parts["hangs"] == Part(None, "did not answer within 0.5 s")


def test_a_snapshot_of_a_dead_stack_comes_in_time_with_a_reason_for_every_part():
    runtime = ProcessRuntime([])
    started = time.monotonic()
    status = pipeline_status(runtime).to_json()
    assert time.monotonic() - started < 3.2
    assert status["members"]["value"] == []
    for part in ("kafka", "outbox", "dispatcher", "merchant"):
        assert status[part]["value"] is None
        assert len(status[part]["error"]) > 10
    assert status["merchant"]["error"] == "127.0.0.1:9 refuses connections"


def test_nothing_is_printed_while_kafka_is_dead(capfd):
    with pytest.raises(SourceError, match="no broker answers"):
        KafkaReader(ProcessRuntime([]).endpoints()).read()
    assert capfd.readouterr() == ("", "")


def test_an_end_offset_that_no_leader_told_is_unknown_and_no_number_below_zero():
    ends = {}
    for number, offset in enumerate((42, OFFSET_INVALID)):
        ends[TopicPartition("payments", number)] = future = Future()
        future.set_result(SimpleNamespace(offset=offset))
    assert _Asked(time.monotonic() + 1.0, ends, None).told([]) == ({0: 42}, None)


def test_a_server_that_is_no_broker_is_a_sentence():
    runtime = ProcessRuntime(["kafka-1"])
    try:
        port = runtime.ports["kafka-1"]
        with pytest.raises(SourceError):
            quorum_leader("127.0.0.1", free_port(), 0.5)
        wait_until(lambda: answers(("127.0.0.1", port), "kafka-1"))
        with pytest.raises(SourceError, match="unreadable"):
            quorum_leader("127.0.0.1", port, 2.0)
        assert fetch_json(f"http://127.0.0.1:{port}/") == {}
    finally:
        runtime.close()


def test_outside_text_cannot_steer_the_terminal():
    assert harmless("a\x1b[31m\n\u202eb\u20b9é") == "a\\x1b[31m\\x0a\\u202eb₹é"
    assert len(harmless("x" * 10_000)) == 500
