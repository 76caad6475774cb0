import asyncio
import threading
from datetime import datetime
from decimal import Decimal

import psycopg
import pytest

from services.common.event import Event
from services.ingestion_api import group_commit, store
from services.ingestion_api.group_commit import GroupCommit, StoreError, UnavailableError
from services.ingestion_api.pace import Pace
from services.ingestion_api.store import Accepted, Outcome, Settled, _judge
from tests.asgi_client import LOOP, in_loop


def event(transaction_id, canonical=b"{}"):
    return Event(
        transaction_id,
        datetime.fromisoformat("2024-01-01 10:00:00"),
        "a",
        "a@b",
        "b",
        "c@d",
        Decimal(1),
        "SUCCESS",
        canonical,
    )


class Link:
    """Runs the work without a connection, as if Postgres were `answers`."""

    def __init__(self):
        self.error = None
        self.gate = threading.Event()
        self.gate.set()
        self.waited_for = threading.Event()

    def run(self, work, *, until_s, stop):
        self.waited_for.set()
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return work(None)

    def close(self):
        pass


@pytest.fixture
def writer(monkeypatch):
    """A writer over a store that accepts everything but ids named `poison`, and remembers its groups."""
    groups, handed = [], []

    def commit(connection, events, member):
        groups.append([one.transaction_id for one in events])
        if any(one.transaction_id == "poison" for one in events):
            raise psycopg.DataError("no")
        return Settled([Outcome.ACCEPTED] * len(events), [Accepted(one.transaction_id, b"", 0) for one in events])

    monkeypatch.setattr(group_commit, "commit_group", commit)
    link = Link()
    made = GroupCommit(link, "api", deadline_s=5.0, max_events=100, after_commit=handed.extend, pace=Pace(0))
    made.link, made.groups, made.handed = link, groups, handed
    made.start(LOOP)
    yield made
    link.gate.set()
    made.stop(5)


def submit_all(writer, ids):
    answers = {}

    def one(transaction_id):
        try:
            answers[transaction_id] = in_loop(writer.submit(event(transaction_id)))
        except (StoreError, UnavailableError) as error:
            answers[transaction_id] = type(error)

    threads = [threading.Thread(target=one, args=[transaction_id]) for transaction_id in ids]
    for thread in threads:
        thread.start()
    return threads, answers


def held(writer):
    """Holds the writer with one event; whoever comes now waits behind it."""
    writer.link.gate.clear()
    first, _ = submit_all(writer, ["first"])
    assert writer.link.waited_for.wait(10)
    return first


def requests_waiting(writer, count):
    """Returns when `count` requests wait. The loop is asked: what it has gathered, it hands over with its turn."""

    async def waiting():
        return sum(not task.done() for task in asyncio.all_tasks() if task.get_name().startswith("Task")) - 1

    while in_loop(waiting()) < count:
        pass


def gather(writer, ids):
    """Holds the writer with one event until all of `ids` wait behind it."""
    first = held(writer)
    threads, answers = submit_all(writer, ids)
    requests_waiting(writer, 1 + len(ids))
    writer.link.gate.set()
    for thread in first + threads:
        thread.join(10)
    return answers


def test_requests_that_are_there_together_are_committed_together(writer):
    ids = [str(number) for number in range(10)]
    assert gather(writer, ids) == dict.fromkeys(ids, Outcome.ACCEPTED)
    assert sorted(map(len, writer.groups)) == [1, 10]
    writer.stop(5)
    assert len(writer.handed) == 11


def test_one_poisonous_event_does_not_sink_its_neighbours(writer):
    answers = gather(writer, ["a", "poison", "b"])
    assert answers == {"a": Outcome.ACCEPTED, "poison": StoreError, "b": Outcome.ACCEPTED}


def test_a_batch_is_committed_in_one_statement_with_whatever_else_waits(writer):
    first = held(writer)
    single, _ = submit_all(writer, ["single"])
    requests_waiting(writer, 2)
    results = []
    many = [event(str(n)) for n in range(250)]
    batch = threading.Thread(target=lambda: results.extend(in_loop(writer.submit_all(many))))
    batch.start()
    requests_waiting(writer, 3)
    writer.link.gate.set()
    for thread in [*first, *single, batch]:
        thread.join(10)
    assert results == [Outcome.ACCEPTED] * 250
    assert writer.groups == [["first"], ["single", *map(str, range(250))]]
    writer.stop(5)
    assert len(writer.handed) == 252


def test_a_poisonous_event_of_a_batch_sinks_no_other_of_it(writer):
    ids = [*map(str, range(300)), "poison", *map(str, range(300, 400))]
    results = in_loop(writer.submit_all([event(one) for one in ids]))
    assert [type(result) for result in results] == [Outcome] * 300 + [StoreError] + [Outcome] * 100
    writer.stop(5)  # requests are answered first: what is handed over is known when the writer has ended
    assert sorted(one.transaction_id for one in writer.handed) == sorted(set(ids) - {"poison"})
    assert len(writer.groups) < 25, "halves, not one by one"


def test_with_postgres_away_between_the_parts_of_a_batch_the_rest_is_told_as_not_known(writer):
    run = writer.link.run
    calls = []

    def away_after_two(work, **how):
        calls.append(1)
        if len(calls) > 3:
            raise psycopg.OperationalError("away")
        return run(work, **how)

    writer.link.run = away_after_two
    results = in_loop(writer.submit_all([event(one) for one in ("a", "b", "poison", "c")]))
    assert results[:2] == [Outcome.ACCEPTED] * 2
    assert all(isinstance(result, UnavailableError) for result in results[2:])
    writer.stop(5)
    assert [one.transaction_id for one in writer.handed] == ["a", "b"]


def test_a_batch_of_which_nothing_is_known_is_told_so_as_a_whole(writer):
    writer.link.error = psycopg.OperationalError("away")
    with pytest.raises(UnavailableError):
        in_loop(writer.submit_all([event("a"), event("b")]))
    with pytest.raises(UnavailableError):
        writer.check()


def test_with_postgres_away_every_request_of_the_group_is_told_so(writer):
    writer.link.error = psycopg.OperationalError("away")
    assert gather(writer, ["a", "b"]) == {"a": UnavailableError, "b": UnavailableError}
    assert writer.handed == []


def test_a_bug_in_one_group_does_not_end_the_writer(writer):
    writer.link.error = RuntimeError("bug")
    assert gather(writer, ["a"]) == {"a": StoreError}
    writer.link.error = None
    assert in_loop(writer.submit(event("b"))) is Outcome.ACCEPTED


def test_a_request_that_gave_up_is_not_written_behind_its_back(writer):
    first = held(writer)
    writer._deadline_s = 0.05
    late, answers = submit_all(writer, ["late"])
    late[0].join(10)
    assert answers == {"late": UnavailableError}
    writer.link.gate.set()
    first[0].join(10)
    writer.stop(5)
    assert writer.groups == [["first"]]


def test_the_same_id_twice_in_a_group_is_accepted_once():
    events = [event("a"), event("a"), event("a", b"other"), event("b"), event("b", b"other")]
    stored = {"a": b"{}", "b": b"other"}
    assert _judge(events, stored, {"a"}) == [
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
        Outcome.CONFLICT,
        Outcome.DUPLICATE,
    ]


def test_an_id_that_is_pruned_while_it_is_sent_again_is_accepted_anew(monkeypatch):
    """It is there when the insert meets it, and gone when its content is to be compared."""
    inserts = [{"b": 7}, {"a": 8}]
    monkeypatch.setattr(store, "_insert", lambda connection, events, member: inserts.pop(0))
    monkeypatch.setattr(store, "_stored", lambda connection, ids: {})
    settled = store.commit_group(None, [event("a"), event("b")], "api")
    assert settled.outcomes == [Outcome.ACCEPTED] * 2
    assert {one.transaction_id: one.accepted_at_ms for one in settled.accepted} == {"a": 8, "b": 7}
    assert inserts == []
