"""The bench's rows without a stack, the soak's arithmetic, and its drawings."""

import json
import os
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import psutil
import pytest
import requests

from bench import plot, soak
from bench.alone import ALONE, Alone
from bench.command import bruce_control, cost_of
from bench.made_run import make_run, make_source
from bench.soak_latency import by_minute
from bench.taker import Taker
from control_room.verify import Outcome, check
from tests.unit.histories import T0, History, tid

ROW = {row.name: row for row in ALONE}


def test_a_made_up_run_is_proven_and_holds_retries_and_duplicates(tmp_path):
    run = make_run(tmp_path / "runs", make_source(tmp_path / "payments.csv", 400))
    verdict = check(run)
    assert (verdict.outcome, verdict.classes["delivered"], verdict.classes["duplicated"]) == (Outcome.PROVEN, 400, 2)
    assert max(row.attempts for row in verdict.deliveries) == 2


def test_a_made_up_run_with_a_changed_ledger_is_not_proven(tmp_path):
    run = make_run(tmp_path / "runs", make_source(tmp_path / "payments.csv", 50))
    ledger = run / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    assert check(run).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", ["replay", "check"])
def test_a_row_without_a_stack_tells_time_memory_and_that_it_succeeded(tmp_path, name):
    said = []
    found = ROW[name].measure(Alone(tmp_path, 300, said.append))
    parts = found["by_way"].values() if name == "replay" else (found["check"], found["report"])
    for part in parts:
        assert part["exit_code"] == 0, part
        assert part["cpu_s"] > 0.05
        assert 10 < part["peak_mib"] < 500
    assert ROW[name].tell(found)
    assert said


def test_the_cost_of_a_command_is_its_own_and_not_that_of_who_started_it():
    ballast = bytearray(os.urandom(1 << 20)) * 200
    cost = cost_of([sys.executable, "-c", "import time; time.sleep(0.3); print('here')"], os.environ)
    assert (cost.exit_code, cost.said.strip()) == (0, "here")
    assert cost.peak_mib < 100 < len(ballast) / 2**20
    assert cost_of([*bruce_control("check"), "/nowhere/at/all"], os.environ).exit_code != 0


def test_the_taker_says_of_each_event_that_it_took_it():
    with Taker() as taker:
        one = requests.post(f"{taker.url}/events", json={"Transaction ID": "a"}, timeout=5)
        both = requests.post(f"{taker.url}/events/batch", json=[{"Transaction ID": x} for x in "ab"], timeout=5)
    assert (one.status_code, one.json()["transaction_id"]) == (201, "a")
    assert [(each["status"], each["transaction_id"]) for each in both.json()["results"]] == [(201, "a"), (201, "b")]


def look(at_s, memory, dead=0):
    tables = {name: {"table_mib": 1.0, "indexes_mib": 0.5, "dead": dead} for name in soak.old_rows.TABLES}
    return {"at_s": at_s, "members": {"dispatcher": {"memory_mib": memory, "files": 40}}, "tables": tables, "pruned": 0}


def minute(number, p99):
    quantiles = {"p50": 5.0, "p99": p99}
    return {"minute": number, "accepted": 10, "accept_ms": quantiles, "first_try_ms": {"p50": None, "p99": None}}


def test_a_soak_that_is_broken_off_leaves_no_replay_that_goes_on_sending(monkeypatch):
    started = []

    def broken_off(*_):
        started.extend(each for each in psutil.Process().children() if each.cmdline() == replay)
        raise KeyboardInterrupt

    monkeypatch.setattr(soak, "sample", broken_off)
    # In place of a replay that goes on sending: a process that goes on until a signal ends it.
    replay, stack = [sys.executable, "-c", "import signal; signal.pause()"], SimpleNamespace(runtime=None)
    with pytest.raises(KeyboardInterrupt):
        soak._while_it_runs(stack, replay, soak.Soak(1, 1), None, print)
    [process] = started
    process.wait(10)


@pytest.mark.parametrize(("pruned", "good"), [(1_568_687, True), (1_483_200, True), (1_483_199, False)])
def test_a_soak_whose_retention_falls_behind_is_not_good(pruned, good):
    """2,682 s at 600/s: 1,591,200 have turned old, of which three minutes' worth may still be there."""
    looks = [{**look(2682.0, 60.0), "pruned": pruned}]
    verdict = {"exit_code": 0, "verdict": "proven", "reasons": []}
    found = {"looks": looks, "rate_per_s": 600.0, "minutes": 45.0, "verdict": verdict, "start_and_end": {}}
    assert soak.is_good(found) is good
    assert soak.tell(found)[1] == f"pruned: {pruned:,}, {1_591_200 - pruned:,} behind what turned old"
    assert not soak.is_good({**found, "verdict": {**verdict, "exit_code": 12}})


def test_the_soaks_start_is_what_follows_the_warming_up():
    looks = [look(10 * n, 500.0 if n < 10 else 60.0 if n < 50 else 90.0) for n in range(100)]
    found = soak.compared(looks, [minute(n, 20.0) for n in range(10)])
    assert found["memory_mib dispatcher"] == {"start": 60.0, "end": 90.0}
    assert found["mib payments"] == {"start": 1.5, "end": 1.5}
    assert found["first_try_ms p50"] == {"start": None, "end": None}


def test_latency_is_told_by_the_minute_in_which_a_payment_was_due(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.clock = T0 + 130
    history.send(tid(2))
    history.deliver(tid(2), status=500)
    history.deliver(tid(2), att="1.2")
    found = by_minute(history.write())
    assert [(one["minute"], one["accepted"]) for one in found] == [(0, 1), (2, 1)]
    assert found[0]["accept_ms"]["p50"] == 1000
    assert found[0]["first_try_ms"]["p99"] == 2000
    assert found[1]["first_try_ms"]["p99"] is None, "the second try is no first"


def test_the_drawings_are_svg_with_a_line_for_each_curve():
    found = {"looks": [look(60 * n, 50 + n, 100 * n) for n in range(5)], "latency_by_minute": [minute(0, 20.0)]}
    drawings = soak.plots(found)
    assert set(drawings) == {f"soak-{name}.svg" for name in ("memory", "files", "tables", "dead-rows", "latency")}
    for text in drawings.values():
        assert ET.fromstring(text).tag.endswith("svg")
    assert drawings["soak-tables.svg"].count("<polyline") == len(soak.old_rows.TABLES)
    assert json.dumps(found)


def test_a_drawings_names_are_escaped_and_nothing_to_draw_is_no_error():
    assert "a &lt;b&gt;" in plot.svg("a <b>", "%", {"none": []})
