"""Modes of a link: what may be asked for, and which links there are."""

import pytest

from control_room.stack.links.modes import Kind, ModeError, parse
from control_room.stack.links.names import DOORS, LINKS, NAMES, doors_of, server_of
from control_room.stack.runtime import MEMBERS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "mode must be one of pass, refuse, silence, slow, reset-after"),
        ({"mode": "cut"}, "given: 'cut'"),
        ({"mode": "refuse", "latency_ms": 3}, "refuse takes no numbers"),
        ({"mode": "slow"}, "slow needs latency_ms or bytes_per_s"),
        ({"mode": "slow", "latency_ms": -1}, "latency_ms must be a number from 0 to 60000"),
        ({"mode": "slow", "latency_ms": "soon"}, "latency_ms must be a number"),
        ({"mode": "slow", "latency_ms": True}, "latency_ms must be a number"),
        ({"mode": "slow", "latency_ms": float("nan")}, "latency_ms must be a number"),
        ({"mode": "slow", "latency_ms": 10, "jitter_ms": 11}, "jitter_ms must not be more than latency_ms"),
        ({"mode": "slow", "bytes_per_s": 1}, "bytes_per_s must be a number from 100"),
        ({"mode": "slow", "latency_ms": 10, "bytes": 11}, "slow takes bytes_per_s, jitter_ms, latency_ms"),
        ({"mode": "reset-after"}, "reset-after needs bytes"),
    ],
)
def test_a_mode_that_cannot_be_is_refused_in_a_sentence(given, words):
    with pytest.raises(ModeError, match=words):
        parse(given)


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "pass"},
        {"mode": "refuse"},
        {"mode": "silence"},
        {"mode": "slow", "latency_ms": 200, "jitter_ms": 50, "bytes_per_s": 1000},
        {"mode": "reset-after", "bytes": 0},
    ],
)
def test_a_mode_survives_being_written_and_read(given):
    mode = parse(given)
    assert parse(mode.to_json()) == mode
    assert mode.words().startswith(given["mode"])


def test_what_was_not_given_is_not_asked_about():
    assert parse({"mode": "refuse", "latency_ms": None, "bytes": None}).kind is Kind.REFUSE


def test_every_door_belongs_to_one_link_and_leads_to_a_member():
    assert len(set(DOORS)) == len(DOORS) == 16
    assert {server_of(door) for door in DOORS} < set(MEMBERS)
    assert len(set(NAMES)) == len(NAMES)
    assert all(set(doors_of(name)) <= set(DOORS) for name in NAMES)
    assert doors_of("dispatcher:kafka") == ("dispatcher:kafka-1", "dispatcher:kafka-2", "dispatcher:kafka-3")
    assert doors_of("dispatcher:kafka-2") == ("dispatcher:kafka-2",)
    assert set(LINKS) <= set(NAMES)
