import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.chain import read_chain
from services.merchant_server.ledger import LedgerError, LedgerFile
from services.merchant_server.ledger_reader import MAX_PAGE_LINES, find_line, read_page


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "ledger.jsonl"


def _records(count, begin=0, size=10):
    return [{"k": "req", "id": f"{begin + number}", "pad": "x" * (number * 37 % size)} for number in range(count)]


def _read(path):
    with path.open("rb") as file:
        return [record["id"] for record in read_chain(file)]


def test_lines_continue_the_chain_after_a_restart(path):
    for begin in (0, 3, 6):
        ledger = LedgerFile(path)
        ledger.append(_records(3, begin))
        assert ledger.synced == (begin + 3, path.stat().st_size)
        ledger.close()
    assert _read(path) == [str(number) for number in range(9)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(count=st.integers(1, 6), cut=st.integers(0, 2000))
def test_whatever_was_torn_off_the_end_the_ledger_goes_on_and_the_chain_holds(tmp_path, count, cut):
    path = tmp_path / "torn.jsonl"
    path.unlink(missing_ok=True)
    ledger = LedgerFile(path)
    ledger.append(_records(count))
    ledger.close()
    size = path.stat().st_size
    os.truncate(path, max(0, size - cut))
    ledger = LedgerFile(path)
    kept = ledger.synced.lines
    ledger.append(_records(2, 100))
    ledger.close()
    assert _read(path) == [*(str(number) for number in range(kept)), "100", "101"]
    assert ledger.cut_bytes < 2000


def test_a_torn_line_of_zeros_is_cut_too(path):
    """What a file system may leave of an unsynced write when the power goes."""
    ledger = LedgerFile(path)
    ledger.append(_records(2))
    ledger.close()
    with path.open("ab") as file:
        file.write(bytes(100_000))
    ledger = LedgerFile(path)
    assert (ledger.synced.lines, ledger.cut_bytes) == (2, 100_000)
    ledger.close()


@pytest.mark.parametrize("content", [b"precious", b"precious\n", b"\0" * 50, b'{"n":1,"c":"00000000"}\n', b"\n"])
def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="LEDGER_PATH"):
        LedgerFile(path)
    assert path.read_bytes() == content


def test_a_last_line_that_was_edited_is_refused_and_left_as_it_is(path):
    ledger = LedgerFile(path)
    ledger.append(_records(3))
    ledger.close()
    edited = path.read_bytes().replace(b'"id":"2"', b'"id":"9"')
    path.write_bytes(edited + b'{"n":3,"torn')
    with pytest.raises(LedgerError, match=r"does not end like a ledger .* move it away"):
        LedgerFile(path)
    assert path.read_bytes().startswith(edited)


def test_two_merchants_never_write_one_ledger(path):
    ledger = LedgerFile(path)
    with pytest.raises(LedgerError, match="another merchant-server writes"):
        LedgerFile(path)
    ledger.close()
    LedgerFile(path).close()


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(LedgerError, match=r"LEDGER_PATH: cannot open .*: Is a directory"):
        LedgerFile(tmp_path)


@pytest.mark.parametrize("fails", ["fdatasync", "ftruncate"])
def test_a_group_that_cannot_be_synced_leaves_nothing_and_the_chain_goes_on(path, monkeypatch, fails):
    ledger = LedgerFile(path)
    ledger.append(_records(2))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        if fails == "ftruncate":
            patch.setattr(os, "ftruncate", full)
        with pytest.raises(OSError, match="No space"):
            ledger.append(_records(5, 50))
        assert ledger.synced.lines == 2
        assert read_page(ledger, 0, 100).next_line == 2, "only synced lines are shown"
    ledger.append(_records(2, 2))
    ledger.close()
    assert _read(path) == ["0", "1", "2", "3"]


@pytest.fixture(scope="module")
def long_ledger(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "ledger.jsonl"
    ledger = LedgerFile(path)
    ledger.append(_records(50_000, size=900))
    yield ledger
    ledger.close()


@given(number=st.integers(0, 49_999))
def test_any_line_is_found_without_an_index(long_ledger, number):
    offset = find_line(long_ledger, number)
    assert long_ledger.read(offset, 60).startswith(b'{"n":%d,' % number)


def test_finding_a_line_reads_little_of_the_file(long_ledger, monkeypatch):
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read.append(size) or pread(fd, size, offset))
    find_line(long_ledger, 31_415)
    assert sum(read) < 200_000 < long_ledger.synced.size_bytes / 50


def test_pages_are_whole_lines_and_together_the_whole_file(long_ledger):
    pages, line = [], 0
    while line < long_ledger.synced.lines:
        page = read_page(long_ledger, line, MAX_PAGE_LINES)
        assert page.next_line == line + page.body.count(b"\n") > line
        assert len(page.body) <= 4 * 1024 * 1024
        pages.append(page.body)
        line = page.next_line
    assert b"".join(pages) == long_ledger.path.read_bytes()


@pytest.mark.parametrize(
    ("first", "limit", "lines"), [(0, 1, 1), (7, 5, 5), (49_998, 10, 2), (50_000, 10, 0), (99_999, 1, 0), (5, 0, 0)]
)
def test_a_page_begins_and_ends_where_it_was_asked_to(long_ledger, first, limit, lines):
    page = read_page(long_ledger, first, limit)
    assert page.next_line == first + lines
    found = list(read_chain(page.body.splitlines(keepends=True), trust_first=True))
    assert [record["n"] for record in found] == list(range(first, first + lines))


def test_a_file_changed_under_the_reader_is_an_error_and_not_a_wrong_page(path):
    ledger = LedgerFile(path)
    ledger.append(_records(1000))
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = b"\n" * (len(content) // 2)
    path.write_bytes(bytes(content))
    with pytest.raises(LedgerError, match="the file was changed"):
        read_page(ledger, 3, 10)
    ledger.close()
