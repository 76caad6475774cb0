"""A group's members as its coordinator tells them. The bytes are those of Kafka 4.3's own message definitions."""

import socket
import struct
import threading
from contextlib import contextmanager

import pytest

from control_room.tracking.group_members import Coordinator, GroupMember, describe_group, find_coordinator
from control_room.tracking.parts import SourceError
from tests.unit.member_processes import free_port

TOPIC = "payment-webhooks"


def text(words):
    return struct.pack(">h", -1) if words is None else struct.pack(">h", len(words)) + words.encode()


def data(raw):
    return struct.pack(">i", len(raw)) + raw


def assignment(**topics):
    body = b"".join(
        text(name.replace("_", "-")) + struct.pack(f">i{len(numbers)}i", len(numbers), *numbers)
        for name, numbers in topics.items()
    )
    return struct.pack(">hi", 3, len(topics)) + body + data(b"")


def member(member_id, instance, held):
    return text(member_id) + text(instance) + text("dispatcher") + text("/127.0.0.1") + data(b"\1\2\3") + data(held)


def described(state, *members, error=0):
    """DescribeGroupsResponse, version 4."""
    head = struct.pack(">iii", 1, 0, 1) + struct.pack(">h", error)
    group = text("bruce-dispatcher") + text(state) + text("consumer") + text("cooperative-sticky")
    return head + group + struct.pack(">i", len(members)) + b"".join(members) + struct.pack(">i", -(2**31))


def coordinator(node_id, port, error=0):
    """FindCoordinatorResponse, version 0."""
    return struct.pack(">ih", 1, error) + struct.pack(">i", node_id) + text("127.0.0.1") + struct.pack(">i", port)


@contextmanager
def broker(answer):
    """Answers one request; `heard` is what it was asked."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                size = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))[0]
                heard.append(connection.recv(size, socket.MSG_WAITALL))
                connection.sendall(struct.pack(">i", len(answer)) + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join(5)


def group_of(answer):
    with broker(answer) as (port, _):
        return describe_group(Coordinator(1, "127.0.0.1", port), "bruce-dispatcher", TOPIC, 2.0)


def test_members_are_told_by_their_static_name_with_what_they_hold_of_the_topic():
    held = assignment(payment_webhooks=[2, 0], another=[7])
    found = group_of(described("Stable", member("m-1", "dispatcher", held), member("m-2", None, b"")))
    assert found.state == "Stable"
    assert found.members == (
        GroupMember("dispatcher", "dispatcher", "127.0.0.1", (0, 2)),
        GroupMember("m-2", "dispatcher", "127.0.0.1", ()),
    )


def test_a_group_that_nobody_joined_has_no_member():
    assert group_of(described("Empty")).members == ()


def test_the_coordinator_is_found_by_a_broker_that_answers_although_another_is_dead():
    with broker(coordinator(3, 9093)) as (port, heard):
        brokers = [("127.0.0.1", free_port()), ("127.0.0.1", port)]
        assert find_coordinator(brokers, "bruce-dispatcher", 2.0) == Coordinator(3, "127.0.0.1", 9093)
    assert heard == [struct.pack(">hhi", 10, 0, 1) + text("control-room") + text("bruce-dispatcher")]


def test_the_question_for_the_members_reads_and_changes_nothing():
    with broker(described("Empty")) as (port, heard):
        describe_group(Coordinator(1, "127.0.0.1", port), "bruce-dispatcher", TOPIC, 2.0)
    body = struct.pack(">i", 1) + text("bruce-dispatcher") + b"\0"
    assert heard == [struct.pack(">hhi", 15, 4, 1) + text("control-room") + body]


@pytest.mark.parametrize("cut", [5, 20, 60, -6])
def test_an_answer_that_breaks_off_is_a_sentence(cut):
    whole = described("Stable", member("m-1", "dispatcher", assignment(payment_webhooks=[0])))
    with pytest.raises(SourceError, match=r"unreadable|no answer"):
        group_of(whole[:cut])


def test_a_coordinator_that_is_none_any_more_is_a_sentence():
    with pytest.raises(SourceError, match="Kafka error 16"):
        group_of(described("", error=16))
    with broker(coordinator(-1, -1, error=15)) as (port, _), pytest.raises(SourceError, match="Kafka error 15"):
        find_coordinator([("127.0.0.1", port)], "bruce-dispatcher", 2.0)
