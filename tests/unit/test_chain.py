import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.chain import ChainError, ChainWriter, last_link, read_chain

VALUES = st.one_of(st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8"), max_size=20), st.none())
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["k", "id", "at", "sha", "ключ"]), VALUES, max_size=4), min_size=2, max_size=8
)


def _lines(records):
    writer = ChainWriter()
    return [writer.line(record) for record in records]


@given(RECORDS)
def test_what_was_written_is_read_again(records):
    found = list(read_chain(_lines(records)))
    assert [{k: v for k, v in one.items() if k not in "nc"} for one in found] == records
    assert [one["n"] for one in found] == list(range(len(records)))


@given(RECORDS, st.data())
def test_a_line_changed_at_any_byte_is_detected(records, data):
    lines = _lines(records)
    which = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[which]) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(lines[which])
    changed[place] ^= flip
    lines[which] = bytes(changed)
    with pytest.raises(ChainError):
        list(read_chain(b"".join(lines).splitlines(keepends=True)))


@given(RECORDS, st.data())
def test_a_file_cut_inside_a_line_is_detected(records, data):
    text = b"".join(_lines(records))
    kept = data.draw(st.integers(1, len(text) - 1).filter(lambda length: text[length - 1 : length] != b"\n"))
    with pytest.raises(ChainError, match="cut"):
        list(read_chain(text[:kept].splitlines(keepends=True)))


@given(RECORDS, st.data())
def test_a_missing_line_is_detected(records, data):
    """All but the last: that whole lines are missing at the end shows in the `end` line or the manifest, not here."""
    lines = _lines(records)
    del lines[data.draw(st.integers(0, len(lines) - 2))]
    with pytest.raises(ChainError):
        list(read_chain(lines))


@given(RECORDS, st.data())
def test_a_line_twice_or_two_swapped_are_detected(records, data):
    lines = _lines(records)
    which = data.draw(st.integers(0, len(lines) - 2))
    with pytest.raises(ChainError):
        list(read_chain(lines[: which + 1] + lines[which:]))
    lines[which], lines[which + 1] = lines[which + 1], lines[which]
    with pytest.raises(ChainError):
        list(read_chain(lines))


@given(RECORDS, st.data())
def test_a_record_replaced_by_one_of_another_chain_is_detected(records, data):
    lines, which = _lines(records), data.draw(st.integers(1, len(records) - 1))
    other = _lines([{"k": "another beginning"}, *records])
    with pytest.raises(ChainError):
        list(read_chain(lines[:which] + other[which + 1 :] + lines[which + 1 :]))


@given(RECORDS, st.integers(0, 100))
def test_the_tail_of_a_chain_is_checked_from_its_second_line_on(records, begin):
    lines = _lines(records)
    tail = lines[begin % len(lines) :]
    assert len(list(read_chain(tail, trust_first=True))) == len(tail)
    if len(tail) > 2:
        del tail[1]
        with pytest.raises(ChainError):
            list(read_chain(tail, trust_first=True))


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"{}\n", b"3\n", b'{"n":"0","c":"x"}\n', b'{"n":0,"c":7}\n', b'{"n":null,"c":"x"}\n', b"\xff\n"],
)
def test_a_trusted_first_line_must_still_be_a_chained_line(line):
    with pytest.raises(ChainError, match="line 1 is not a chained JSON object"):
        list(read_chain([line, b"{}\n"], trust_first=True))


@given(RECORDS, st.integers(1, 7))
def test_a_continued_chain_is_the_chain_written_at_once(records, cut):
    whole = _lines(records)
    first = whole[: cut % len(whole)]
    writer = last_link(first)
    assert first + [writer.line(record) for record in records[len(first) :]] == whole
