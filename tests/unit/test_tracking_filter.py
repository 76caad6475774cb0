"""The filter language: what is written means the same when it is written out again, and no text breaks it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_room.tracking.filter import Comparison, Filter, FilterError, parse_filter
from control_room.tracking.states import STATES
from control_room.tracking.transactions import TransactionRow

_WORD = st.text(
    st.characters(blacklist_characters='"', blacklist_categories=("Zs", "Zl", "Zp", "Cc", "Cs")), min_size=1
)
_FIGURES = st.builds(
    Comparison,
    st.sampled_from(["try", "round", "age", "amount"]),
    st.sampled_from([">", ">=", "<", "<=", "="]),
    st.decimals(0, 99_999, places=3).map(float),
)
_FILTERS = st.builds(
    Filter,
    st.frozensets(st.sampled_from(STATES)),
    st.lists(_FIGURES, max_size=3).map(tuple),
    st.frozensets(st.sampled_from(["200", "500", "429", "t/o"])),
    st.lists(st.text("0123456789abcdef-", min_size=1), max_size=2).map(tuple),
    st.lists(_WORD.map(str.lower).filter(lambda word: word == word.lower()), max_size=3).map(tuple),
)


def row(**changes):
    values = {
        "transaction_id": "099ee548-0000-4000-8000-000000000000",
        "amount_inr": Decimal("8404.55"),
        "status": "SUCCESS",
        "sender_name": "Anna",
        "receiver_name": "Ravi",
        "accepted_at_s": 1000.0,
        "accepted_by": "ingestion-api-1",
        "state": "retrying",
        "published_at_s": 1000.1,
        "published_by": "ingestion-api-1",
        "partition": 1,
        "offset": 7,
        "republished": 0,
        "round": 1,
        "attempt": 2,
        "attempts_total": 2,
        "last_status": 500,
        "last_error": None,
        "next_due_at_s": None,
        "delivered_at_s": None,
        "age_s": 9.0,
    }
    return TransactionRow(**{**values, **changes})


@given(_FILTERS)
def test_a_filter_written_out_parses_to_itself(made):
    assert parse_filter(str(made)) == made


@given(st.text())
def test_any_text_is_a_filter_or_a_sentence(text):
    try:
        parse_filter(text).fits(row(), 1010.0)
    except FilterError as error:
        assert len(str(error)) > 10


@given(_FILTERS, st.integers(0, 9), st.sampled_from(STATES), st.floats(0, 1000))
def test_terms_are_and_ed_each_can_only_take_away(made, tries, state, age_s):
    one = row(attempts_total=tries, state=state)
    fits = made.fits(one, 1000.0 + age_s)
    parts = [
        Filter(states=made.states),
        Filter(answers=made.answers),
        *(Filter(figures=(each,)) for each in made.figures),
        *(Filter(prefixes=(each,)) for each in made.prefixes),
        *(Filter(words=(each,)) for each in made.words),
    ]
    assert fits == all(part.fits(one, 1000.0 + age_s) for part in parts)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("state:retrying try>1 age>9s", True),
        ("state:any", True),
        ("state:open", True),
        ("state:delivered,outbox", False),
        ("try>2", False),
        ("age>1m", False),
        ("amount>=8404.55", True),
        ("http:500", True),
        ("http:t/o", False),
        ("id:099e", True),
        ("anna", True),
        ("RAVI", True),
        ('"anna"', True),
        ("nobody", False),
    ],
)
def test_each_term_means_what_it_says(text, fits):
    assert parse_filter(text).fits(row(), 1010.0) is fits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("state:lost", "states are"),
        ("try>many", "a number"),
        ("age>soon", "10s"),
        ("http:no", "http:500"),
        ("age>nan", "duration"),
    ],
)
def test_what_is_no_filter_is_told_with_what_can_be_written(text, says):
    with pytest.raises(FilterError, match=says):
        parse_filter(text)
