import base64
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.bitmap import MAX_METADATA_BYTES, MAX_UNPACKED_BYTES, decode, encode


def packed(kind, content):
    return f"b1:{kind}:{zlib.crc32(content):08x}:{base64.b64encode(content).decode()}"


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
    text = encode(bits)
    assert len(text) <= MAX_METADATA_BYTES
    assert text.isascii()
    assert bits.startswith(decode(text))
    assert len(decode(text)) > 3000


def test_a_full_window_fits_whatever_its_pattern():
    bits = random.Random(2).randbytes(24_000 // 8)
    assert decode(encode(bits)) == bits


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "b1",
        "somebody else's metadata",
        "b2:r:00000000:",
        "b1:x:00000000:",
        "b1:r:zzz:AAAA",
        "b1:r:0:A",
        "b1:r:00000000:////",
        "b1:z:00000000:",
        "b1:r:é:é",
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
