"""Flags by id: as a dict of them would have it, in a fraction of the memory."""

import tracemalloc
import uuid

from hypothesis import given
from hypothesis import strategies as st

from control_room.tracking.evidence import flags
from control_room.tracking.evidence.flags import FlagsById

IDS = st.integers(0, 40).map(str) | st.uuids().map(str) | st.text()


@given(st.lists(st.tuples(IDS, st.integers(0, 255)), max_size=200))
def test_each_id_has_what_was_added_to_it(added):
    found, wanted = FlagsById(), {}
    for transaction_id, each in added:
        assert found.add(transaction_id, each) == wanted.get(transaction_id, 0)
        wanted[transaction_id] = wanted.get(transaction_id, 0) | each
    assert {transaction_id: found.add(transaction_id, 0) for transaction_id in wanted} == wanted


def test_one_bucket_of_many_ids_mixes_none_of_them_up(monkeypatch):
    """A key may also be found across the border of two entries."""
    monkeypatch.setattr(flags, "_BUCKETS", 1)
    found = FlagsById()
    ids = [str(uuid.UUID(int=number)) for number in range(3000)]
    assert [found.add(each, number % 256) for number, each in enumerate(ids)] == [0] * len(ids)
    assert [found.add(each, 0) for each in ids] == [number % 256 for number in range(len(ids))]


class HashedTo:
    """In place of an id: of that only the hash is looked at."""

    def __init__(self, number):
        self._number = number

    def __hash__(self):
        return self._number


def test_a_key_across_two_entries_is_not_one():
    entry = b"abcdef\x01"
    found = FlagsById()
    bucket = found._buckets[0] = bytearray(2 * entry)
    spanning = bytes(bucket[3:9])
    assert found.add(HashedTo(int.from_bytes(spanning, "little") << 16), 1) == 0
    assert bucket == 2 * entry + spanning + b"\x01"


def test_a_hundred_thousand_ids_take_less_than_forty_bytes_each():
    ids = [str(uuid.UUID(int=number)) for number in range(100_000)]
    tracemalloc.start()
    found = FlagsById()
    for each in ids:
        found.add(each, 3)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 40 * len(ids)
