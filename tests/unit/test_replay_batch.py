"""`replay --batch`: the operation log says of each payment what it says where payments go one by one."""

import asyncio
from collections import Counter

import pytest

from control_room.replay.batches import batches
from control_room.replay.client import Outcome, Received, judge_batch
from control_room.replay.errors import OptionsError
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import payments
from control_room.replay.replay import Replay
from control_room.replay.retry import RetryPolicy
from control_room.replay.source import CsvSource
from control_room.verify.operations import read_operations
from services.common.batch import MAX_BATCH_BYTES
from services.common.chain import read_chain
from services.common.event import canonical_bytes
from tests.unit import replay_sources as sources
from tests.unit.replay_api import Api, serving
from tests.unit.test_replay_run import SECRETS, _log, _prepared, _replayed


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def some(tmp_path):
    path = sources.write(tmp_path / "s.csv", 4)
    return list(payments(CsvSource(path), ReplayOptions(source=path), print))


async def test_every_payment_is_in_one_batch_signed_as_a_whole_and_logged_by_itself(tmp_path, api):
    folder = _prepared(tmp_path, 23, batch=5)
    async with _replayed(api, folder) as (summary, log):
        assert (summary.accepted, summary.payments, summary.in_flight) == (23, 23, 0)
    assert sorted(len(documents) for documents, _, _ in api.batches) == [3, 5, 5, 5, 5]
    for documents, body, signature in api.batches:
        assert body == canonical_bytes(documents)
        assert SECRETS.verify(signature, body)
    assert Counter(record["k"] for record in log) == {"start": 1, "invoke": 23, "ok": 23, "end": 1}
    assert {record["by"] for record in log if record["k"] == "ok"} == {"ingestion-api-2"}
    found = read_operations(folder.path)
    assert len(found.histories) == 23


@pytest.mark.parametrize("options", [{}, {"rate_per_s": 500.0}])
async def test_the_line_of_each_payment_is_in_the_file_before_the_batch_is_seen(tmp_path, api, options):
    folder = _prepared(tmp_path, 50, batch=8, **options)
    missing = []

    def look(document):
        if document["Transaction ID"] not in {record["id"] for record in _log(folder) if record["k"] == "invoke"}:
            missing.append(document["Transaction ID"])

    api.on_request = look
    async with _replayed(api, folder) as (summary, _):
        assert summary.accepted == 50
    assert not missing


async def test_each_payment_of_a_batch_has_its_own_answer(tmp_path, api):
    ids = [sources.transaction_id(number) for number in range(5)]
    api.script = {ids[1]: [409], ids[2]: [400], ids[3]: [{"status": 201, "transaction_id": ids[3], "duplicate": True}]}
    async with _replayed(api, _prepared(tmp_path, 5, batch=5)) as (summary, log):
        assert (summary.accepted, summary.duplicates, summary.refused) == (3, 1, {409: 1, 400: 1})
        assert summary.refusal_examples[0].startswith("line 3: 409 No")
    answers = {record["op"]: (record["k"], record.get("dup")) for record in log if record["k"] in ("ok", "fail")}
    assert answers == {0: ("ok", False), 1: ("fail", None), 2: ("fail", None), 3: ("ok", True), 4: ("ok", False)}
    assert len(api.batches) == 1


@pytest.mark.parametrize(("answer", "why"), [(503, "503"), ("reset", "reset"), (500, "500"), (502, "502")])
async def test_a_batch_without_an_answer_leaves_each_id_unanswered_and_is_sent_again(tmp_path, api, answer, why):
    api.batch_script = [answer]
    async with _replayed(api, _prepared(tmp_path, 4, batch=4)) as (summary, log):
        assert (summary.accepted, summary.unanswered) == (4, {why: 4})
    assert [record["try"] for record in log if record["k"] == "invoke"] == [1] * 4 + [2] * 4
    assert [record["why"] for record in log if record["k"] == "info"] == [why] * 4
    first, second = api.batches
    assert first[1] == second[1]


async def test_a_batch_that_times_out_is_sent_again(tmp_path, api):
    api.batch_script = ["hang"]
    async with _replayed(api, _prepared(tmp_path, 3, batch=3, request_timeout_s=0.2)) as (summary, _):
        assert (summary.accepted, summary.unanswered) == (3, {"timeout": 3})


async def test_only_what_has_no_answer_is_sent_again(tmp_path, api):
    ids = [sources.transaction_id(number) for number in range(4)]
    api.script = {ids[1]: [503, 503], ids[3]: [500, {"status": 201, "transaction_id": ids[0], "duplicate": False}]}
    async with _replayed(api, _prepared(tmp_path, 4, batch=4)) as (summary, _):
        assert summary.accepted == 4
        assert summary.unanswered == {"503": 2, "500": 1, "201-of-another": 1}
    sent = [[document["Transaction ID"] for document in documents] for documents, _, _ in api.batches]
    assert sent == [ids, [ids[1], ids[3]], [ids[1], ids[3]]]


@pytest.mark.parametrize("status", [400, 403, 413, 415])
async def test_a_batch_that_is_refused_as_a_whole_is_a_refusal_of_each(tmp_path, api, status):
    api.batch_script = [status]
    async with _replayed(api, _prepared(tmp_path, 3, batch=3)) as (summary, _):
        assert (summary.refused, summary.requests) == ({status: 3}, 3)


async def test_tries_are_bounded_and_each_payment_given_up_is_counted(tmp_path, api):
    api.batch_script = [503] * 20
    folder = _prepared(tmp_path, 5, batch=3, retry=RetryPolicy(max_tries=3, first_wait_s=0.001))
    async with _replayed(api, folder) as (summary, log):
        assert (summary.accepted, summary.gave_up, summary.requests) == (0, 5, 15)
        assert log[-1]["k"] == "end"


async def test_a_resumed_run_sends_what_has_no_answer_whatever_batch_it_was_in(tmp_path, api):
    folder = _prepared(tmp_path, 30, batch=7, concurrency=1)
    async with _replayed(api, folder):
        pass
    lines = folder.operations_path.read_bytes().splitlines(keepends=True)
    with folder.operations_path.open("rb") as file:
        records = list(read_chain(file))
    cut = next(place for place, record in enumerate(records) if record["k"] == "ok" and record["op"] == 10) + 1
    folder.operations_path.write_bytes(b"".join(lines[:cut]))
    answered = {record["op"] for record in records[:cut] if record["k"] == "ok"}
    again = Api()
    async with _replayed(again, folder, resume=True) as (summary, log):
        assert (summary.skipped, summary.accepted) == (len(answered), 30 - len(answered))
        assert log[-1]["k"] == "end"
    sent = {document["Transaction ID"] for documents, _, _ in again.batches for document in documents}
    assert sent == {sources.transaction_id(number) for number in range(30) if number not in answered}


async def test_a_stop_writes_of_each_payment_on_its_way_that_it_was_interrupted(tmp_path, api, monkeypatch):
    monkeypatch.setattr("control_room.replay.replay.STOP_GRACE_S", 0.1)
    api.batch_script = ["hang"]
    folder = _prepared(tmp_path, 4, batch=4)
    async with serving(api) as url:
        replay = Replay(folder, url, SECRETS)
        running = asyncio.ensure_future(replay.run())
        while not api.batches:
            await asyncio.sleep(0.01)
        replay.stop()
        summary = await asyncio.wait_for(running, 10)
    assert (summary.interrupted, summary.gave_up, summary.unanswered) == (True, 4, {"interrupted": 4})
    assert Counter(record["k"] for record in _log(folder)) == {"start": 1, "invoke": 4, "info": 4, "end": 1}


async def test_an_open_loop_keeps_the_rate_of_payments_and_latency_counts_from_each_ones_own_time(tmp_path, api):
    folder = _prepared(tmp_path, 40, batch=10, rate_per_s=100.0)
    async with _replayed(api, folder) as (summary, log):
        assert summary.accepted == 40
        assert summary.max_s > 0.085, "the first of ten at 100 a second waits 90 ms for the last"
    dues = [record["due"] for record in log if record["k"] == "invoke"]
    assert dues[-1] - dues[0] == pytest.approx(0.39, abs=0.05)
    assert dues[9] - dues[0] == pytest.approx(0.09, abs=0.02)


def test_a_batch_never_grows_beyond_what_the_api_takes(some):
    large = [some[0]._replace(body=b"x" * 300_000) for _ in range(7)]
    found = [len(batch.payments) for batch in batches(iter(large), 500)]
    assert found == [3, 3, 1]
    huge = [some[0]._replace(body=b"x" * (MAX_BATCH_BYTES + 1))]
    assert [len(batch.payments) for batch in batches(iter(huge * 2), 500)] == [1, 1]


@pytest.mark.parametrize(
    "body",
    [b"", b"fine", b"[]", b'{"results": 1}', b'{"results": []}', b'{"results": [1, 2, 3, 4]}',
     b'{"results": [{}, {"status": "201"}, null, {"status": 201}]}'],
)  # fmt: skip
@pytest.mark.parametrize("status", [201, 207])
def test_an_answer_that_does_not_say_what_became_of_each_acknowledges_nothing(some, status, body):
    found = judge_batch(Received(status, body), some)
    assert {(answer.outcome, answer.why, answer.again) for answer in found} == {
        (Outcome.UNKNOWN, "201-of-another", True)
    }


def test_results_in_another_order_acknowledge_nothing(some):
    results = b",".join(b'{"status": 201, "transaction_id": "%s"}' % one.transaction_id.encode() for one in some[::-1])
    found = judge_batch(Received(201, b'{"results": [%s]}' % results), some)
    assert {answer.outcome for answer in found} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("batch", [0, -1, 501])
def test_a_batch_size_that_the_api_would_refuse_is_refused_first(tmp_path, batch):
    with pytest.raises(OptionsError, match="batch must be 1 to 500"):
        ReplayOptions(source=tmp_path / "s.csv", batch=batch)


def test_the_settings_of_a_run_before_there_were_batches_can_be_read(tmp_path):
    options = ReplayOptions(source=tmp_path / "s.csv")
    document = options.document()
    del document["batch"]
    assert ReplayOptions.from_document(document) == options
