import asyncio
import csv
import os
import signal
import socket
import threading
from collections import Counter
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from control_room.replay import replay as replay_module
from control_room.replay.client import ApiClient
from control_room.replay.errors import BadRowsError, OptionsError
from control_room.replay.options import ReplayOptions
from control_room.replay.replay import Replay, prepare, run_replay
from control_room.replay.retry import RetryPolicy
from control_room.replay.run_folder import open_run
from services.common.chain import read_chain
from services.common.event import canonical_bytes
from services.common.signing import Secrets
from tests.unit import replay_sources as sources
from tests.unit.replay_api import Api, serving

SECRETS = Secrets.parse("replay-test-secret-0123456789")
QUICK = RetryPolicy(first_wait_s=0.01, max_wait_s=0.05)


@pytest.fixture
def api():
    return Api()


def _prepared(tmp_path, count=5, **options):
    source = tmp_path / "source.csv"
    if not source.exists():
        sources.write(source, count)
    options.setdefault("retry", QUICK)
    return prepare(ReplayOptions(source=source, **options), tmp_path / "runs", ledger_from=0)


def _log(folder):
    with folder.operations_path.open("rb") as file:
        return list(read_chain(file))


@asynccontextmanager
async def _replayed(api, folder, **options):
    async with serving(api) as url:
        summary = await asyncio.wait_for(Replay(folder, url, SECRETS, **options).run(), 20)
        yield summary, _log(folder)


async def test_every_payment_is_sent_signed_and_logged(tmp_path, api):
    folder = _prepared(tmp_path, 20)
    async with _replayed(api, folder) as (summary, log):
        assert (summary.accepted, summary.payments, summary.requests, summary.in_flight) == (20, 20, 20, 0)
        assert summary.ended
        assert not summary.interrupted
    assert Counter(record["k"] for record in log) == {"start": 1, "invoke": 20, "ok": 20, "end": 1}
    assert (log[0]["k"], log[0]["run"], log[-1]["k"], log[-1]["ops"]) == ("start", folder.run_id, "end", 20)
    assert {record["by"] for record in log if record["k"] == "ok"} == {"ingestion-api-2"}
    for (document, body), headers in zip(api.requests, api.headers, strict=True):
        assert body == canonical_bytes(document)
        assert SECRETS.verify(headers["X-HMAC-Signature"], body)
        assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("options", [{}, {"rate_per_s": 500.0}])
async def test_the_line_is_in_the_file_before_the_request_is_seen(tmp_path, api, options):
    folder = _prepared(tmp_path, 50, **options)
    missing = []

    def look(document):
        logged = {record["id"] for record in _log(folder) if record["k"] == "invoke"}
        if document["Transaction ID"] not in logged:
            missing.append(document["Transaction ID"])

    api.on_request = look
    async with _replayed(api, folder) as (summary, _):
        assert summary.accepted == 50
    assert not missing


async def test_each_try_is_an_operation_of_its_own_under_the_same_id(tmp_path, api):
    api.script[sources.transaction_id(0)] = [503, "reset", "garbage", 502]
    folder = _prepared(tmp_path, 1)
    async with _replayed(api, folder) as (summary, log):
        assert (summary.accepted, summary.payments, summary.requests) == (1, 1, 5)
        assert summary.unanswered == {"503": 1, "reset": 1, "201-of-another": 1, "502": 1}
    assert api.ids() == [sources.transaction_id(0)] * 5
    assert len({body for _, body in api.requests}) == 1
    tries = [record for record in log if record["k"] == "invoke"]
    assert [(record["op"], record["try"]) for record in tries] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert [record["why"] for record in log if record["k"] == "info"] == ["503", "reset", "201-of-another", "502"]
    assert all(earlier["due"] <= later["due"] for earlier, later in pairwise(tries))


async def test_a_time_out_is_no_answer_and_is_tried_again(tmp_path, api):
    api.script[sources.transaction_id(1)] = ["hang"]
    async with _replayed(api, _prepared(tmp_path, 3, request_timeout_s=0.2)) as (summary, _):
        assert summary.accepted == 3
        assert summary.unanswered == {"timeout": 1}


async def test_an_answer_about_another_payment_acknowledges_nothing(tmp_path, api):
    api.script[None] = [{"transaction_id": sources.transaction_id(77), "duplicate": False}]
    async with _replayed(api, _prepared(tmp_path, 1)) as (summary, log):
        assert summary.accepted == 1
        assert [record["k"] for record in log] == ["start", "invoke", "info", "invoke", "ok", "end"]


@pytest.mark.parametrize("status", [400, 403, 409, 413, 422])
async def test_a_definite_refusal_is_not_tried_again(tmp_path, api, status):
    api.script[sources.transaction_id(1)] = [status]
    async with _replayed(api, _prepared(tmp_path, 3)) as (summary, log):
        assert summary.refused == {status: 1}
        assert summary.answered == 3
        assert summary.refusal_examples == (f"line 3: {status} No: {status}.",)
    assert [record["status"] for record in log if record["k"] == "fail"] == [status]
    assert len(api.requests) == 3


@pytest.mark.parametrize("status", [200, 302])
async def test_an_answer_that_nobody_promised_is_neither_yes_nor_no(tmp_path, api, status):
    api.script[None] = [status]
    async with _replayed(api, _prepared(tmp_path, 1)) as (summary, log):
        assert (summary.accepted, summary.gave_up, summary.unanswered) == (0, 1, {str(status): 1})
        assert log[-2]["why"] == str(status)


async def test_tries_are_bounded_and_what_has_no_answer_is_counted(tmp_path, api):
    api.script[None] = [503] * 100
    folder = _prepared(tmp_path, 2, retry=RetryPolicy(max_tries=4, first_wait_s=0.001))
    async with _replayed(api, folder) as (summary, log):
        assert (summary.accepted, summary.gave_up, summary.requests) == (0, 2, 8)
        assert log[-1]["k"] == "end"


async def test_an_api_that_is_not_there_is_refused_and_not_a_crash(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        folder = _prepared(tmp_path, 2, retry=RetryPolicy(max_tries=2, first_wait_s=0.001))
        summary = await Replay(folder, url, SECRETS).run()
    assert summary.unanswered == {"refused": 4}


async def test_a_duplicate_answer_is_counted_and_logged(tmp_path, api):
    async with _replayed(api, _prepared(tmp_path, 2)) as (summary, _):
        assert summary.duplicates == 0
    api.script[None] = [{"transaction_id": sources.transaction_id(n), "duplicate": True} for n in (0, 1)]
    async with _replayed(api, _prepared(tmp_path, 2, concurrency=1)) as (summary, log):
        assert (summary.accepted, summary.duplicates) == (2, 2)
        assert [record["dup"] for record in log if record["k"] == "ok"] == [True, True]


async def test_an_id_that_stands_twice_in_the_file_is_sent_twice(tmp_path, api):
    rows = [sources.row(0), sources.row(0), sources.row(0, Status="FAILED")]
    (tmp_path / "source.csv").write_text(sources.text(rows))
    api.script[sources.transaction_id(0)] = [201, 201, 409]
    async with _replayed(api, _prepared(tmp_path, concurrency=1)) as (summary, log):
        assert (summary.accepted, summary.refused) == (2, {409: 1})
    tries = [record for record in log if record["k"] == "invoke"]
    assert [(record["op"], record["row"], record["try"]) for record in tries] == [(0, 2, 1), (1, 3, 1), (2, 4, 1)]
    assert len({record["sha"] for record in tries}) == 2


async def test_bad_rows_are_kept_and_the_rest_goes_on(tmp_path, api):
    rows = [sources.row(0), sources.row(1, **{"Amount (INR)": "abc"}), sources.row(2)]
    (tmp_path / "source.csv").write_text(sources.text(rows))
    folder = _prepared(tmp_path)
    async with _replayed(api, folder) as (summary, _):
        assert (summary.accepted, summary.bad_rows) == (2, 1)
        assert summary.bad_row_examples == ("line 3: Amount (INR) must be a number or a numeric string",)
    [_, kept] = list(csv.reader(folder.rejected_path.open(newline="")))
    assert kept[:2] == ["3", "Amount (INR) must be a number or a numeric string"]
    assert next(csv.reader([kept[2]]))[6] == "abc"


async def test_strict_sends_nothing(tmp_path, api):
    (tmp_path / "source.csv").write_text(sources.text([sources.row(0), sources.row(1, Status="?")]))
    with pytest.raises(BadRowsError):
        _prepared(tmp_path, strict=True)
    assert not (tmp_path / "runs").exists()


async def test_a_closed_loop_has_as_many_on_their_way_as_asked_for(tmp_path, api):
    api.latency_s = 0.01
    async with _replayed(api, _prepared(tmp_path, 60, concurrency=7)) as (summary, _):
        assert summary.accepted == 60
    assert api.most_in_flight == 7


async def test_an_open_loop_keeps_its_rate_and_does_not_wait_for_answers(tmp_path, api):
    api.latency_s = 0.3
    async with _replayed(api, _prepared(tmp_path, 40, rate_per_s=100.0)) as (summary, log):
        assert summary.accepted == 40
        assert 0.65 < summary.elapsed_s < 3
    assert api.most_in_flight > 15
    dues = [record["due"] for record in log if record["k"] == "invoke"]
    assert dues[-1] - dues[0] == pytest.approx(0.39, abs=0.05)


async def test_latency_counts_from_when_a_payment_was_due(tmp_path, api):
    """One at a time, 50 ms each, 100 a second asked for: the last of 10 is about 400 ms late, and says so."""
    api.latency_s = 0.05
    async with _replayed(api, _prepared(tmp_path, 10, rate_per_s=100.0, max_in_flight=1)) as (summary, log):
        assert summary.max_s > 0.35
    lateness = [record["at"] - record["due"] for record in log if record["k"] == "invoke"]
    assert lateness[-1] > 0.3


async def test_speed_follows_the_files_own_gaps(tmp_path, api):
    rows = [
        sources.row(0),
        sources.row(1, Timestamp="2026-01-14 10:00:01"),
        sources.row(2, Timestamp="2026-01-14 11:00:01"),
    ]
    (tmp_path / "source.csv").write_text(sources.text(rows))
    async with _replayed(api, _prepared(tmp_path, speed=10_000.0)) as (summary, log):
        assert summary.accepted == 3
    dues = [record["due"] for record in log if record["k"] == "invoke"]
    assert dues[2] - dues[1] == pytest.approx(0.36, abs=0.02)


async def test_a_speed_that_changes_ends_a_gap_that_is_waited_for(tmp_path, api):
    rows = [sources.row(0), sources.row(1, Timestamp="2026-01-14 12:00:00")]
    (tmp_path / "source.csv").write_text(sources.text(rows))
    async with serving(api) as url:
        replay = Replay(_prepared(tmp_path, speed=1.0), url, SECRETS)
        running = asyncio.ensure_future(replay.run())
        while not api.requests:
            await asyncio.sleep(0.01)
        replay.change_speed(1_000_000.0)
        summary = await asyncio.wait_for(running, 10)
    assert summary.accepted == 2
    with pytest.raises(OptionsError):
        replay.change_rate(5.0)


async def test_a_resumed_run_sends_what_has_no_answer_and_nothing_else(tmp_path, api):
    folder = _prepared(tmp_path, 30, concurrency=1, ids="fresh", repeat=2)
    async with _replayed(api, folder):
        pass
    lines = folder.operations_path.read_bytes().splitlines(keepends=True)
    folder.operations_path.write_bytes(b"".join(lines[:41]) + lines[41][:30])
    before, api.requests = api.ids(), []
    resumed = open_run(folder.path)
    async with _replayed(api, resumed, resume=True) as (summary, log):
        assert (summary.skipped, summary.accepted) == (20, 40)
        assert summary.ended
    assert api.ids() == before[20:], "the same fresh ids, in order"
    assert [record["k"] for record in log].count("start") == 2
    assert log[-1] == {**log[-1], "k": "end", "ops": 60}


async def test_a_resumed_run_sends_again_what_was_on_its_way(tmp_path, api):
    folder = _prepared(tmp_path, 3, concurrency=1)
    async with _replayed(api, folder):
        pass
    lines = folder.operations_path.read_bytes().splitlines(keepends=True)
    folder.operations_path.write_bytes(b"".join(lines[:4]))  # start, invoke, ok, invoke
    api.requests = []
    async with _replayed(api, open_run(folder.path), resume=True) as (summary, _):
        assert (summary.skipped, summary.accepted) == (1, 2)
    assert api.ids() == [sources.transaction_id(1), sources.transaction_id(2)]


async def test_stopping_finishes_what_is_on_its_way_and_ends_the_log(tmp_path, api):
    api.latency_s = 0.1
    folder = _prepared(tmp_path, 1000, concurrency=4)
    async with serving(api) as url:
        replay = Replay(folder, url, SECRETS)
        api.on_request = lambda document: len(api.requests) == 10 and replay.stop()
        summary = await asyncio.wait_for(replay.run(), 10)
    assert summary.interrupted
    assert 10 <= summary.accepted == summary.payments < 30
    assert _log(folder)[-1]["k"] == "end"


async def test_what_hangs_is_cut_after_the_grace_and_logged_as_interrupted(tmp_path, api, monkeypatch):
    monkeypatch.setattr(replay_module, "STOP_GRACE_S", 0.2)
    api.script[None] = ["hang"] * 50
    folder = _prepared(tmp_path, 50, concurrency=4)
    async with serving(api) as url:
        replay = Replay(folder, url, SECRETS)
        api.on_request = lambda document: replay.stop()
        summary = await asyncio.wait_for(replay.run(), 10)
    log = _log(folder)
    assert summary.gave_up == summary.unanswered["interrupted"] == 4
    assert [record["why"] for record in log if record["k"] == "info"] == ["interrupted"] * 4
    assert (log[-1]["k"], log[-1]["ops"]) == ("end", 4)


@pytest.mark.parametrize("options", [{}, {"rate_per_s": 300.0}])
async def test_cancelling_ends_the_log_too(tmp_path, api, options):
    api.latency_s = 0.02
    folder = _prepared(tmp_path, 5000, **options)
    async with serving(api) as url:
        task = asyncio.ensure_future(Replay(folder, url, SECRETS).run())
        api.on_request = lambda document: len(api.requests) == 20 and task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    log = _log(folder)
    kinds = Counter(record["k"] for record in log)
    assert log[-1]["k"] == "end"
    assert kinds["invoke"] == kinds["ok"]


async def test_progress_is_a_frozen_picture_a_few_times_a_second(tmp_path, api):
    api.latency_s = 0.05
    seen = []
    async with _replayed(api, _prepared(tmp_path, 60, concurrency=4), on_progress=seen.append) as (summary, _):
        assert seen[-1] is summary
    assert 2 <= len(seen) <= 8
    assert all(earlier.answered <= later.answered for earlier, later in pairwise(seen))
    assert seen[1].expected == 60
    assert seen[1].eta_s is not None
    assert 0.045 < summary.p50_s <= summary.p95_s <= summary.p99_s <= summary.max_s


async def test_a_display_that_breaks_stops_the_replay_in_order(tmp_path, api):
    api.latency_s = 0.05

    def broken(progress):
        raise ZeroDivisionError

    folder = _prepared(tmp_path, 1000, concurrency=2)
    async with serving(api) as url:
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(Replay(folder, url, SECRETS, on_progress=broken).run(), 10)
    assert _log(folder)[-1]["k"] == "end"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://[::1"])
def test_a_wrong_address_is_a_sentence(url):
    with pytest.raises(OptionsError, match="is not a URL such as"):
        ApiClient(url, SECRETS, timeout_s=1)


class _Elsewhere:
    """The API in a loop of another thread, for what must run in the main one."""

    def __init__(self, api):
        self._api, self._ready, self._loop = api, threading.Event(), None

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(5)
        return self.url

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)

    async def _serve(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self._api) as self.url:
            self._ready.set()
            await self._end.wait()


def test_ctrl_c_ends_a_replay_in_order(tmp_path, api):
    api.latency_s = 0.01
    folder = _prepared(tmp_path, 5000)
    handler = signal.getsignal(signal.SIGINT)
    with _Elsewhere(api) as url:
        api.on_request = lambda document: len(api.requests) == 100 and os.kill(os.getpid(), signal.SIGINT)
        summary = run_replay(Replay(folder, url, SECRETS))
    assert summary.interrupted
    assert summary.accepted == summary.payments < 5000
    assert _log(folder)[-1]["k"] == "end"
    assert signal.getsignal(signal.SIGINT) is handler, "Ctrl-C works as before"
