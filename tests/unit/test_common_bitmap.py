import base64
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.bitmap import MAX_METADATA_BYTES, MAX_UNPACKED_BYTES, decode, encode, topic_id_in

TOPIC_ID = "1WnGVDT5RTmadQ3KoPT5cQ"


def packed(kind, content):
    return f"b2::{kind}:{zlib.crc32(content):08x}:{base64.b64encode(content).decode()}"


@given(st.binary(max_size=3000))
def test_bits_come_back_as_they_went_in(bits):
    assert decode(encode(bits)) == bits.rstrip(b"\0")


@given(st.binary(max_size=200), st.integers(1, 400))
def test_repeated_bits_come_back_too(bits, times):
    text = encode(bits * times)
    assert len(text) <= MAX_METADATA_BYTES
    if len(text) < MAX_METADATA_BYTES - 8:
        assert decode(text) == (bits * times).rstrip(b"\0")


def test_a_commit_is_never_refused_for_its_size_and_what_is_cut_is_the_end():
    bits = random.Random(1).randbytes(50_000)
    text = encode(bits, TOPIC_ID)
    assert len(text) <= MAX_METADATA_BYTES
    assert text.isascii()
    assert bits.startswith(decode(text))
    assert len(decode(text)) > 3000


@given(st.binary(max_size=60))
def test_a_commit_says_of_which_topic_it_is_with_bits_and_without(bits):
    text = encode(bits, TOPIC_ID)
    assert topic_id_in(text) == TOPIC_ID
    assert decode(text) == bits.rstrip(b"\0")
    assert topic_id_in(encode(bits)) == ""


@pytest.mark.parametrize("text", [None, "", "b2", "somebody: else's: very: own: metadata", "b1:a:r:0:"])
def test_metadata_that_is_not_ours_names_no_topic(text):
    assert topic_id_in(text) == ""


def test_a_full_window_fits_whatever_its_pattern():
    bits = random.Random(2).randbytes(24_000 // 8)
    assert decode(encode(bits, TOPIC_ID)) == bits


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "b2",
        "somebody else's metadata",
        "b1::r:00000000:",
        "b2:r:00000000:",
        "b2::x:00000000:",
        "b2::r:zzz:AAAA",
        "b2::r:0:A",
        "b2::r:00000000:////",
        "b2::z:00000000:",
        "b2::r:é:é",
        packed("z", b"no zlib"),
        packed("z", zlib.compress(b"ab")[:-2]),
    ],
)
def test_damaged_or_foreign_metadata_counts_as_none(text):
    assert decode(text) == b""


@given(st.binary(min_size=1, max_size=60).filter(lambda bits: bits.strip(b"\0")), st.data())
def test_one_changed_letter_never_makes_other_offsets_complete(bits, data):
    text = encode(bits)
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(codec="ascii"))
    assert decode(text[:at] + letter + text[at + 1 :]) in (b"", bits.rstrip(b"\0"))


def test_a_hostile_commit_cannot_fill_the_memory():
    bomb = packed("z", zlib.compress(bytes(64 * MAX_UNPACKED_BYTES), 9))
    assert decode(bomb) == b""
    assert len(decode(packed("z", zlib.compress(b"\xff" * MAX_UNPACKED_BYTES)))) == MAX_UNPACKED_BYTES
