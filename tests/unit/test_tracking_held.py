"""What holds a million transactions: it finds, orders and gives back exactly what one by one would."""

import random
import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_room.tracking.filter import Filter, parse_filter
from control_room.tracking.held import HeldTransactions
from control_room.tracking.held import block as block_module
from control_room.tracking.held import rows as rows_module
from control_room.tracking.held import store as store_module
from control_room.tracking.listing import Headed, Order, Query, arranged, as_before, count_without, find
from control_room.tracking.states import STATES
from tests.unit.test_tracking_filter import _FILTERS, row

NOW_S = 2000.0
_ANY_TIME = settings(deadline=None)
"""A busy machine is no failure."""


def some_row(dice, accepted_at_s):
    """Any row: a seed decides. Drawn field by field, thirty of them would be slow to make."""
    time_s = [None, float(dice.randrange(1, 1999))]
    return row(
        transaction_id=str(uuid.UUID(int=dice.getrandbits(128))),
        amount_inr=dice.choice([Decimal(dice.randrange(1, 9**7)).scaleb(-2), Decimal("1E+30"), Decimal("0.10")]),
        sender_name=dice.choice(["Anna", "Ravi Stores", "ΩMEGA", ""]),
        receiver_name="".join(chr(dice.randrange(32, 0x2000)) for _ in range(dice.randrange(5))),
        accepted_at_s=accepted_at_s,
        state=dice.choice(STATES),
        published_at_s=dice.choice(time_s),
        published_by=dice.choice([None, "outbox-publisher"]),
        partition=dice.choice([None, 0, 1, 2]),
        offset=dice.choice([None, 0, 2**40]),
        round=dice.randrange(6),
        attempt=dice.randrange(6),
        attempts_total=dice.randrange(10),
        last_status=dice.choice([None, 200, 429, 500]),
        last_error=dice.choice([None, "", "timeout after 3 s", "Connection refused"]),
        next_due_at_s=dice.choice(time_s),
        delivered_at_s=dice.choice([None, accepted_at_s + 0.01 + dice.random()]),
    )


def some_rows(seed, count):
    """So many, accepted at different times, in any order."""
    dice = random.Random(seed)
    return [some_row(dice, float(at_s)) for at_s in dice.sample(range(1, 1900), count)]


_MANY = st.builds(some_rows, st.integers(0, 2**32), st.integers(0, 30))
_QUERIES = st.builds(Query, _FILTERS | st.just(Filter()), st.sampled_from(Order))


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of eight: what happens at their borders happens here too."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (block_module, rows_module, store_module):
            patch.setattr(module, "ROWS", 8)
        yield


def holding(rows, limit=1000):
    held = HeldTransactions(limit)
    for each in rows:
        held.put(each)
    return held


def aged(rows):
    return [each._replace(age_s=NOW_S - each.accepted_at_s) for each in rows]


@_ANY_TIME
@given(_MANY, _QUERIES)
def test_what_is_listed_is_what_one_by_one_would_give(rows, query):
    listed = holding(rows).arranged(query, NOW_S)
    assert list(listed) == aged(arranged(rows, query, NOW_S))


@_ANY_TIME
@given(_MANY, st.data())
def test_a_row_is_found_by_any_beginning_of_its_id(rows, data):
    listed = holding(rows).arranged(Query(), NOW_S)
    text = data.draw(st.sampled_from([each.transaction_id for each in rows] or [str(uuid.uuid4())]))
    prefix = text[: data.draw(st.integers(1, 36))]
    assert find(listed, prefix) == find(tuple(listed), prefix)
    assert find(listed, "no id") is None


@_ANY_TIME
@given(_MANY, _MANY, st.randoms(use_true_random=False))
def test_a_list_stays_as_it_was_whatever_comes_and_changes_later(rows, others, dice):
    held = holding(rows)
    listed = held.arranged(Query(), NOW_S)
    before = list(listed)
    for each in rows:
        held.put(each._replace(state=dice.choice(STATES), attempts_total=each.attempts_total + 1))
    for each in others:
        held.put(each)
    assert list(listed) == before


@_ANY_TIME
@given(_MANY)
def test_a_held_list_keeps_its_rows_and_shows_what_became_of_them(rows):
    held = holding(rows[: len(rows) // 2])
    listed = held.arranged(Query(), NOW_S)
    for each in rows:
        held.put(each._replace(state="delivered", attempts_total=99))
    now = held.arranged(Query(), NOW_S)
    assert list(as_before(now, listed)) == as_before(tuple(now), tuple(listed))
    assert {each.attempts_total for each in as_before(now, listed)} <= {99}
    assert count_without(now, listed) == len(rows) - len(rows) // 2


def test_a_change_is_told_once():
    held = HeldTransactions(1000)
    one = row()
    assert held.put(one)
    assert not held.put(one._replace(age_s=12.0))
    assert held.put(one._replace(state="delivered", delivered_at_s=1003.0))
    assert not held.put(one._replace(state="delivered", delivered_at_s=1003.0))
    assert (len(held), held.open_count, held.oldest_open(NOW_S)) == (1, 0, None)


def test_the_oldest_that_are_done_leave_and_none_that_is_open():
    rows = [
        row(
            transaction_id=str(uuid.UUID(int=number)),
            accepted_at_s=float(number),
            state="retrying" if number % 5 == 1 else "delivered",
        )
        for number in range(100)
    ]
    held = HeldTransactions(60)
    for each in rows:
        held.put(each)
        held.let_go(each.accepted_at_s - 4.0)
    listed = list(held.arranged(Query(), NOW_S))
    assert {each.transaction_id for each in rows if each.state == "retrying"} <= {
        each.transaction_id for each in listed
    }
    assert [each.transaction_id for each in listed][:30] == [each.transaction_id for each in rows[-1:-31:-1]]
    assert len(held) == len(listed) < 75
    assert held.open_count == 20
    assert held.oldest_open(NOW_S).accepted_at_s == 1.0
    assert [uuid.UUID(each) for each in sorted(held.open_ids)] == [uuid.UUID(int=n) for n in range(1, 100, 5)]


def test_one_that_was_done_long_ago_and_is_read_again_is_still_one():
    held = holding([row(state="dead"), row(transaction_id=str(uuid.uuid4()), accepted_at_s=1900.0)])
    held.let_go(1896.0)
    assert not held.knows(row().transaction_id)
    assert held.put(row(state="retrying", attempts_total=4))
    assert len(held) == 2
    assert held.open_count == 2


def test_those_that_were_done_long_ago_are_known_again_when_they_are_asked_for():
    rows = [row(transaction_id=str(uuid.UUID(int=number)), state="dead") for number in range(1, 30)]
    held = holding(rows)
    held.let_go(1896.0)
    asked = [each.transaction_id for each in (rows[3], rows[20])]
    held.recall([*asked, str(uuid.uuid4())])
    assert [each.transaction_id for each in rows if held.knows(each.transaction_id)] == asked
    assert held.put(rows[3]._replace(state="outbox"))
    assert (len(held), held.open_count) == (29, 1)


def test_a_row_in_front_of_others_is_one_of_them():
    each = [row(transaction_id=str(uuid.UUID(int=number)), accepted_at_s=1000.0 - number) for number in range(20)]
    rows = holding(each).arranged(Query(), NOW_S)
    headed = Headed(row(), rows)
    assert len(headed) == 21
    assert headed[0] == row()
    assert [headed[-1], *headed[1:3]] == [rows[-1], rows[0], rows[1]]
    assert (find(headed, row().transaction_id), find(headed, str(uuid.UUID(int=7)))) == (0, 8)
    assert parse_filter(f"id:{row().transaction_id}").fits(headed[0], NOW_S)
