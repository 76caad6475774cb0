import hashlib
import os
import tracemalloc

import pytest

from control_room.replay.errors import SourceError
from control_room.replay.source import CsvSource, RawRow, estimate_rows, fingerprint
from services.common.event import COLUMNS
from tests.unit import replay_sources as sources

HEADER = ",".join(COLUMNS)


def _file(tmp_path, content):
    path = tmp_path / "source.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _cells(path):
    return [(row.line, row.cells) for row in CsvSource(path).rows()]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_line_end_and_a_byte_order_mark_are_read(tmp_path, end, mark):
    path = _file(tmp_path, f"{mark}{HEADER}{end}a,b{end}c,d")
    assert _cells(path) == [(2, ["a", "b"]), (3, ["c", "d"])]


def test_a_row_is_named_by_the_line_it_begins_on_whatever_its_cells_hold(tmp_path):
    path = _file(tmp_path, f'{HEADER}\n"two\nlines","a ""quote"", and comma"\n\nlast,row\n')
    assert _cells(path) == [(2, ["two\nlines", 'a "quote", and comma']), (5, ["last", "row"])]


def test_columns_may_stand_in_any_order_beside_others(tmp_path):
    columns = ["Note", *reversed(COLUMNS)]
    source = CsvSource(_file(tmp_path, ",".join(f" {name} " for name in columns)))
    assert [columns[place] for place in source.places] == list(COLUMNS)
    assert source.ignored_columns == ("Note",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: its first line must name the columns"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n\n\n", "is empty"),
        (b"Transaction ID,Timestamp\n", "lacks the columns Sender Name, Sender UPI ID, Receiver Name, "),
        (HEADER.replace(",Status", "").encode(), "lacks the column Status."),
        (HEADER.replace(",", ";").encode(), "seem to be separated by ';'"),
        (HEADER.replace(",", "\t").encode(), "seem to be separated by tabs"),
        (f"{HEADER},Status\n".encode(), "has the column Status more than once"),
        (HEADER.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"\x7fELF\x02\0\0\0", "is not a text file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "lacks the columns"),
    ],
)
def test_a_file_that_holds_no_payments_is_refused_with_a_sentence(tmp_path, content, sentence):
    with pytest.raises(SourceError) as caught:
        CsvSource(_file(tmp_path, content))
    assert sentence in str(caught.value)
    assert "source.csv" in str(caught.value)


def test_what_is_not_a_file_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(SourceError, match=r"cannot be read: No such file"):
        CsvSource(tmp_path / "missing.csv")
    with pytest.raises(SourceError, match="is a folder"):
        CsvSource(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="not a regular file"):
        CsvSource(tmp_path / "pipe")


def test_an_unclosed_quote_spoils_its_own_rows_and_not_the_rest(tmp_path):
    body = 'bad,"never closed\n' + "x,y\n" * 60_000 + "good,row\n"
    rows = list(CsvSource(_file(tmp_path, f"{HEADER}\nfirst,row\n{body}")).rows())
    faults = [row for row in rows if row.fault]
    assert [row.line for row in faults] == [3]
    assert "is not a CSV row (up to line " in faults[0].fault
    assert rows[-1].cells == ["good", "row"]


def test_a_line_without_an_end_costs_no_memory(tmp_path):
    path = tmp_path / "endless.csv"
    with path.open("wb") as file:
        file.write(HEADER.encode() + b"\n")
        for _ in range(40):
            file.write(b"a" * 1_000_000)
        file.write(b"\ngood,row\n")
    tracemalloc.start()
    rows = list(CsvSource(path).rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.line for row in rows if row.fault] == [2]
    assert rows[-1] == RawRow(3, ["good", "row"])
    assert peak < 20_000_000


def test_the_fingerprint_is_the_files_sha256_and_counts_its_lines(tmp_path):
    path = _file(tmp_path, b"a\nb\nc")
    found = fingerprint(path)
    assert (found.sha256, found.size_bytes, found.lines) == (hashlib.sha256(b"a\nb\nc").hexdigest(), 5, 3)


@pytest.mark.parametrize("count", [0, 1, 40, 20_000])
def test_the_estimate_of_rows_is_exact_for_small_files_and_close_for_large_ones(tmp_path, count):
    path = sources.write(tmp_path / "source.csv", count)
    assert estimate_rows(path) == count if count < 1000 else abs(estimate_rows(path) - count) < count / 20


def test_an_empty_file_has_no_rows(tmp_path):
    assert estimate_rows(_file(tmp_path, b"")) == 0
