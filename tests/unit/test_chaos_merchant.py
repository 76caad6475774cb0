"""Merchant faults on a real merchant: what is said to be seen was on the wire, and left no mark in the ledger."""

import asyncio
import os
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from control_room.chaos import merchant_fault
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import apply_fault, heal_all, preview_fault
from control_room.chaos.journal import FaultJournal
from control_room.chaos.merchant_fields import MODES
from control_room.chaos.merchant_probe import Seen, fits, probe
from control_room.cli import chaos_verbs
from services.common.lifecycle import allow_many_files
from services.merchant_server.behaviour import Answer, Behaviour, Mode
from tests.unit.member_processes import ProcessRuntime, free_port
from tests.unit.merchant_app import merchant


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


@asynccontextmanager
async def stack(tmp_path, **behaviour):
    async with merchant(tmp_path / "ledger.jsonl", **behaviour) as shop:
        runtime = ProcessRuntime([], merchant_url=shop.url)
        try:
            yield shop, runtime
        finally:
            runtime.close()


async def apply(runtime, journal, **changes):
    return await asyncio.to_thread(apply_fault, runtime, "merchant", "merchant-server", [journal], **changes)


OBSERVED = {
    "normal": "200", "outage": "500", "silent": "nothing", "refuse": "reset", "reset-before-body": "reset",
    "reset-after-ledger": "reset", "rate-limited": "429", "gone": "410", "redirect": "301", "drip": "200",
    "huge": "200", "flapping": "500",
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
async def test_each_mode_is_proven_by_an_answer_that_was_seen_and_is_no_delivery(tmp_path, journal, mode, caplog):
    async with stack(tmp_path, latency_ms=0 if mode != "normal" else 30, drip_s=1.5) as (shop, runtime):
        record = await apply(runtime, journal, mode=mode, latency_ms=0)
        assert record.evidence.ok, record.evidence.facts
        assert record.evidence.facts["observed"] == OBSERVED[mode]
        assert record.evidence.facts["behaviour"]["mode"] == mode
        assert record.expect.endswith(MODES[mode])
        await asyncio.to_thread(heal_all, runtime, [journal])
        assert await shop.deliver() == 200
        assert [line["status"] for line in shop.records()] == [200], "no line but the delivery's"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_what_is_seen_before_the_body_was_seen_without_sending_one(tmp_path, journal):
    async with stack(tmp_path) as (_, runtime):
        record = await apply(runtime, journal, mode="reset-before-body")
        assert record.evidence.facts["body_sent"] is False


async def test_a_heal_tells_how_many_deliveries_got_which_answer(tmp_path, journal):
    async with stack(tmp_path) as (shop, runtime):
        assert await shop.deliver("before") == 200
        await apply(runtime, journal, mode="outage")
        for number in range(3):
            assert await shop.deliver(f"{number}") == 500
        (healed,) = await asyncio.to_thread(heal_all, runtime, [journal])
        assert healed.evidence.ok
        assert healed.evidence.facts["answers"] == {"500": 3}
    assert FaultJournal(journal).records()[-1]["facts"]["answers"] == {"500": 3}


async def test_answers_of_a_merchant_that_began_anew_are_not_counted_against_the_old_ones(tmp_path, journal):
    async with stack(tmp_path) as (shop, runtime):
        await shop.deliver("before")
        await apply(runtime, journal, mode="gone")
    async with stack(tmp_path) as (shop, runtime):
        (healed,) = await asyncio.to_thread(heal_all, runtime, [journal])
        assert healed.evidence.ok
        assert "answers" not in healed.evidence.facts


async def test_a_setting_that_reads_back_but_does_not_show_on_the_wire_is_no_evidence(tmp_path, journal, monkeypatch):
    monkeypatch.setattr(merchant_fault, "READ_BACK_DEADLINE_S", 0.3)
    monkeypatch.setattr(Behaviour, "draw", lambda self, random, since_s=0.0: Answer.OK)
    async with stack(tmp_path) as (_, runtime):
        record = await apply(runtime, journal, mode="outage")
    assert not record.evidence.ok
    assert record.evidence.facts["observed"] == "200"
    assert record.evidence.facts["behaviour"] == {"mode": "outage"}


async def test_added_latency_is_seen_as_time(tmp_path, journal):
    async with stack(tmp_path) as (_, runtime):
        record = await apply(runtime, journal, latency_ms=300)
        assert record.evidence.ok
        assert record.evidence.facts["observed_ms"] >= 299
        record = await apply(runtime, journal, latency_ms=60_000)
        assert record.evidence.ok
        assert record.evidence.facts["observed"] == "nothing"


async def test_a_preview_says_what_a_mode_means_and_changes_nothing(tmp_path):
    async with stack(tmp_path) as (shop, runtime):
        words = await asyncio.to_thread(preview_fault, runtime, "merchant", "merchant-server", mode="drip", drip_s=1)
        assert words == (
            "merchant: mode normal → drip, drip_s 6.0 → 1: every delivery is taken, and its 200 sent byte by byte"
        )
        assert shop.listener.behaviour.mode is Mode.NORMAL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing to change: give at least one of mode, failure_rate"),
        ({"mode": None}, "nothing to change"),
        ({"mode": "angry"}, "there is no mode angry; there are normal, outage, "),
        ({"drip_s": 0}, r"drip_s must be a number from 0.05 to 600 \(given: 0\)"),
        ({"flap_s": True}, "flap_s must be a number from 0.1 to 3600"),
        ({"huge_bytes": 70_000.5}, "huge_bytes must be a whole number from 65537 to 1073741824"),
        ({"failure_rate": float("nan")}, "failure_rate must be a number from 0 to 1"),
        ({"angry": 1}, "the merchant has no behaviour angry; it has mode, failure_rate"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_journalled(tmp_path, journal, changes, words):
    async with stack(tmp_path) as (_, runtime):
        with pytest.raises(FaultError, match=words):
            await apply(runtime, journal, **changes)
    assert not journal.exists()


async def test_what_only_the_merchant_knows_to_be_wrong_is_refused_in_its_own_words(tmp_path, journal):
    async with stack(tmp_path) as (_, runtime):
        with pytest.raises(FaultError, match=r"hang_s must be more than the callers' time-out of 0\.1 s"):
            await apply(runtime, journal, hang_s=0.1)


def test_every_mode_and_field_is_an_option_and_what_is_given_is_what_is_set(monkeypatch):
    applied = []
    monkeypatch.setattr(chaos_verbs, "_apply", lambda name, targets, params, **options: applied.append(params))
    options = {
        "mode": "flapping", "failure_rate": 0.5, "timeout_share": 1.0, "latency_ms": 7.0, "retry_after_s": 2.0,
        "hang_s": 9.0, "drip_s": 0.5, "flap_s": 3.0, "huge_bytes": 100_000,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert CliRunner().invoke(chaos_verbs.chaos, ["merchant", *words]).exit_code == 0
    assert CliRunner().invoke(chaos_verbs.chaos, ["merchant", "--drip-s", "2"]).exit_code == 0
    assert applied == [options, {**dict.fromkeys(options), "drip_s": 2.0}]


def test_the_help_says_of_each_mode_what_follows_from_it():
    said = CliRunner().invoke(chaos_verbs.chaos, ["merchant", "--help"]).stdout
    assert all(f"{mode} " in said and words in said for mode, words in MODES.items())


@pytest.mark.parametrize("words", [["--mode", "angry"], ["--drip-s", "0"], ["--huge-bytes", "7"], ["--flap-s", "x"]])
def test_an_option_that_cannot_be_is_a_usage_error(words):
    assert CliRunner().invoke(chaos_verbs.chaos, ["merchant", *words]).exit_code == 2


async def test_a_probe_is_answered_beside_a_client_with_more_than_a_thousand_connections(tmp_path, journal):
    allow_many_files()
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        async with stack(tmp_path) as (_, runtime):
            assert (await apply(runtime, journal, mode="outage")).evidence.ok
    finally:
        for one in held:
            os.close(one)


def test_a_merchant_that_is_not_there_is_no_silent_one():
    seen = probe(f"http://127.0.0.1:{free_port()}", {"mode": "silent"})
    assert seen.answer == "refused"
    assert not any(fits({"mode": mode, "failure_rate": 0.5}, seen) for mode in MODES)


@pytest.mark.parametrize(
    ("behaviour", "possible"),
    [
        ({"failure_rate": 0.0}, {"200"}),
        ({"failure_rate": 1.0, "timeout_share": 0.0}, {"500"}),
        ({"failure_rate": 1.0, "timeout_share": 1.0}, {"nothing"}),
        ({"failure_rate": 0.7, "timeout_share": 0.5}, {"200", "500", "nothing"}),
    ],
)
def test_an_orderly_merchant_is_seen_to_give_the_answers_its_failure_rate_allows(behaviour, possible):
    every = ("200", "301", "410", "429", "500", "nothing", "reset", "closed", "refused")
    assert {answer for answer in every if fits({"mode": "normal", **behaviour}, Seen(answer))} == possible


def test_through_a_relay_a_reset_is_seen_as_a_close_without_an_answer_and_nothing_else_is():
    for mode in ("refuse", "reset-before-body", "reset-after-ledger"):
        assert fits({"mode": mode}, Seen("closed"), relayed=True)
        assert not fits({"mode": mode}, Seen("closed"))
        assert not fits({"mode": mode}, Seen("200", size_bytes=20), relayed=True)
    assert not fits({"mode": "outage"}, Seen("closed"), relayed=True)
