"""Where the dispatcher's batches end up in a real Postgres: each attempt once, whichever table it lies in."""

import random
import uuid
from itertools import count

import pytest

from control_room.tracking.evidence.stores_sql import StoreReader
from control_room.tracking.transactions_sql import ATTEMPTS
from services.dispatcher.outcome import WRITE, Outcome, parameters

pytest_plugins = ["tests.integration.fixtures_stores"]
CLOCK = count(1_700_000_000)


def outcome(id_, state, *, attempt=1, round_=1, redelivery=None, tried=True):
    """Of an attempt that began at a moment of its own; without one where it was not `tried`."""
    at_s = float(next(CLOCK))
    status, error = (200, None) if state == "delivered" else (500, "500")
    told = (at_s, 12.5, status, error) if tried else (None, None, None, "not tried")
    return Outcome(id_, state, round_, attempt, attempt, 1, 42, at_s + 0.5, *told, None, redelivery)


@pytest.fixture
def write(database):
    """Writes batches as the recorder does; the tables are empty at first."""
    database.execute("TRUNCATE deliveries, delivery_attempts")
    return lambda *outcomes: database.execute(WRITE, parameters(outcomes, "dispatcher"))


def rows(database):
    """How many rows of delivery_attempts there are."""
    return database.execute("SELECT count(*) FROM delivery_attempts").fetchone()[0]


def attempts(database, id_):
    """State of each attempt on record, and which it was."""
    found = database.execute(
        "SELECT extract(epoch FROM started_at)::float8, round, attempt, status, redelivery FROM attempts"
        " WHERE transaction_id = %s ORDER BY started_at",
        [id_],
    )
    return found.fetchall()


def told(*outcomes):
    return [(each.started_s, each.round, each.attempt, each.status, each.redelivery) for each in outcomes]


def test_a_payment_that_is_delivered_at_once_has_no_row_but_its_own(database, write):
    one = outcome(str(uuid.uuid4()), "delivered")
    write(one)
    assert rows(database) == 0
    assert attempts(database, one.transaction_id) == told(one)


@pytest.mark.parametrize("together", [True, False])
def test_every_attempt_is_told_once_in_one_batch_or_in_several(database, write, together):
    id_ = str(uuid.uuid4())
    tries = [outcome(id_, "retrying"), outcome(id_, "retrying", attempt=2), outcome(id_, "delivered", attempt=3)]
    for batch in [tries] if together else [[each] for each in tries]:
        write(*batch)
    assert attempts(database, id_) == told(*tries)
    assert rows(database) == 2


@pytest.mark.parametrize("state", ["retrying", "delivered"])
def test_a_batch_that_is_written_again_after_a_lost_answer_tells_nothing_twice(database, write, state):
    one = outcome(str(uuid.uuid4()), state)
    other = outcome(str(uuid.uuid4()), "delivered")
    for _ in range(3):
        write(one, other)
    assert attempts(database, one.transaction_id) == told(one)
    assert attempts(database, other.transaction_id) == told(other)


def test_a_duplicate_after_the_delivery_and_a_redelivery_are_attempts_of_their_own(database, write):
    id_ = str(uuid.uuid4())
    tries = [outcome(id_, "delivered"), outcome(id_, "delivered"), outcome(id_, "delivered", redelivery=7)]
    for each in tries:
        write(each)
    assert attempts(database, id_) == told(*tries)


def test_a_row_that_no_attempt_or_a_redelivery_made_has_no_attempt_of_its_own(database, write):
    untried, redelivered = str(uuid.uuid4()), outcome(str(uuid.uuid4()), "delivered", redelivery=8)
    write(outcome(untried, "dead", tried=False), redelivered)
    assert attempts(database, untried) == []
    assert attempts(database, redelivered.transaction_id) == told(redelivered)
    later = outcome(untried, "delivered")
    write(later)
    assert attempts(database, untried) == told(later)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_in_whatever_batches_evidence_and_timeline_hold_every_attempt(
    database, write, postgres_conninfo, seed
):
    luck = random.Random(seed)
    ids = [str(uuid.uuid4()) for _ in range(20)]
    history = [
        outcome(luck.choice(ids), luck.choice(["retrying", "delivered", "requeued"]), round_=luck.randint(1, 3))
        for _ in range(300)
    ]
    begin = 0
    while begin < len(history):
        size = luck.randint(1, 40)
        for _ in range(luck.choice([1, 1, 2])):
            write(*history[begin : begin + size])
        begin += size
    reader = StoreReader(postgres_conninfo)
    found = [(each["id"], each["at"]) for each in reader.attempts(ids)]
    reader.close()
    assert sorted(found) == sorted((each.transaction_id, each.started_s) for each in history)
    for id_ in ids:
        story = [row[0] for row in database.execute(ATTEMPTS, [id_])]
        assert story == [each.started_s for each in history if each.transaction_id == id_]
