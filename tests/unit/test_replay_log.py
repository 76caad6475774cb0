import json
import os
import re
from pathlib import Path

import pytest

from control_room.replay.errors import RunFolderError, SourceError
from control_room.replay.operation_log import AnsweredRows, OperationLog
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import payments
from control_room.replay.replay import prepare
from control_room.replay.run_folder import open_run
from control_room.replay.source import CsvSource
from services.common.chain import read_chain
from tests.unit import replay_sources as sources


@pytest.fixture
def some(tmp_path):
    path = sources.write(tmp_path / "s.csv", 4)
    return list(payments(CsvSource(path), ReplayOptions(source=path), print))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "operations.jsonl"


def _records(path):
    with path.open("rb") as file:
        return list(read_chain(file))


def _begun(path, some):
    """One answered, one refused, one without an answer, one with its invocation only."""
    log = OperationLog(path)
    log.start("r1")
    for operation, payment in enumerate(some):
        assert log.invoke(payment, 1, 5.0) == operation
    log.ok(0, 201, duplicate=False, by="ingestion-api-1")
    log.fail(1, 409)
    log.info(2, "timeout")
    log.flush()
    log.close()


def test_an_invocation_is_in_the_file_when_invoke_returns(path, some):
    log = OperationLog(path)
    log.invoke(some[0], 1, 5.0)
    record = _records(path)[-1]
    log.close()
    assert {key: record[key] for key in ("k", "op", "id", "try", "due", "sha", "row")} == {
        "k": "invoke", "op": 0, "id": some[0].transaction_id, "try": 1, "due": 5.0, "sha": some[0].sha256, "row": 2,
    }  # fmt: skip


def test_a_continued_log_knows_who_was_answered_and_goes_on_with_its_chain(path, some):
    _begun(path, some)
    log = OperationLog(path, resume=True)
    assert [payment in log.answered for payment in some] == [True, True, False, False]
    assert log.operations == 4
    log.start("r1")
    assert log.invoke(some[2], 1, 6.0) == 4
    log.end()
    log.close()
    found = _records(path)
    assert [record["k"] for record in found][-3:] == ["start", "invoke", "end"]
    assert found[-1]["ops"] == 5


@pytest.mark.parametrize("torn", range(1, 40, 7))
def test_a_torn_last_line_is_cut_and_its_payment_is_sent_again(path, some, torn):
    _begun(path, some)
    whole = len(path.read_bytes().splitlines())
    os.truncate(path, path.stat().st_size - torn)
    log = OperationLog(path, resume=True)
    log.end()
    log.close()
    found = _records(path)
    assert len(found) == whole
    assert found[-1]["k"] == "end"


def test_a_damaged_log_is_not_continued(path, some):
    _begun(path, some)
    path.write_bytes(path.read_bytes().replace(b'"op":1', b'"op":7', 1))
    with pytest.raises(RunFolderError, match=r"is damaged and cannot be continued: line 3 does not match"):
        OperationLog(path, resume=True)


def test_a_log_that_somebody_writes_is_not_continued(path, some):
    log = OperationLog(path)
    with pytest.raises(RunFolderError, match="being written by another replay"):
        OperationLog(path, resume=True)
    log.close()


def test_a_log_is_never_overwritten_nor_continued_where_there_is_none(path):
    with pytest.raises(RunFolderError, match="No such file"):
        OperationLog(path, resume=True)
    path.touch()
    with pytest.raises(RunFolderError, match="File exists"):
        OperationLog(path)


def test_a_full_disk_stops_the_request_with_a_sentence(path, some):
    if not Path("/dev/full").exists():
        pytest.skip("this platform has no /dev/full")
    log = OperationLog(path)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._fd)
    os.close(full)
    with pytest.raises(RunFolderError, match="No space left on device; nothing more was sent"):
        log.invoke(some[0], 1, 5.0)
    log.close()


def test_the_same_id_on_two_lines_counts_as_two_payments(some):
    answered = AnsweredRows()
    answered.add(AnsweredRows.key(some[0].transaction_id, some[0].line + 1))
    assert some[0] not in answered
    answered.add(AnsweredRows.key(some[0].transaction_id, some[0].line))
    assert some[0] in answered


def test_a_prepared_run_says_everything_before_its_first_request(tmp_path):
    source = sources.write(tmp_path / "my source.csv", 7)
    options = ReplayOptions(source=source, seed=0xABC3F9A, rate_per_s=2)
    folder = prepare(options, tmp_path / "runs", ledger_from=12, before_ids=["id-1", "id-2"], api_url="http://x")
    assert re.fullmatch(r"\d{8}-\d{6}-3f9a", folder.run_id)
    document = json.loads((folder.path / "run.json").read_text())
    assert (document["format"], document["run"], document["ledger_from"]) == (1, folder.run_id, 12)
    assert document["source"] == {
        "name": "my source.csv", "sha256": folder.source.sha256, "bytes": source.stat().st_size, "lines": 8,
    }  # fmt: skip
    assert document["settings"]["rate_per_s"] == 2
    assert set(document["versions"]) == {"bruce", "python"}
    assert [record["id"] for record in _records(folder.path / "before.jsonl")] == ["id-1", "id-2"]


def test_two_runs_of_one_seed_in_one_second_have_folders_of_their_own(tmp_path):
    options = ReplayOptions(source=sources.write(tmp_path / "s.csv"), seed=1)
    assert len({prepare(options, tmp_path / "runs", ledger_from=0).run_id for _ in range(5)}) == 5


def test_a_strict_run_or_one_without_a_source_makes_no_folder(tmp_path):
    with pytest.raises(SourceError):
        prepare(ReplayOptions(source=tmp_path / "none.csv"), tmp_path / "runs", ledger_from=0)
    assert not (tmp_path / "runs").exists()


def test_only_a_run_whose_source_is_unchanged_is_resumed(tmp_path):
    options = ReplayOptions(source=sources.write(tmp_path / "s.csv"), seed=5, ids="fresh")
    folder = prepare(options, tmp_path / "runs", ledger_from=0)
    assert open_run(folder.path) == folder
    sources.write(tmp_path / "s.csv", 9)
    with pytest.raises(RunFolderError, match="has changed since the run began"):
        open_run(folder.path)
    with pytest.raises(RunFolderError, match="is not a run that can be resumed: No such file"):
        open_run(tmp_path / "no-such-run")
    (folder.path / "run.json").write_text("{}")
    with pytest.raises(RunFolderError, match="cannot be read"):
        open_run(folder.path)
