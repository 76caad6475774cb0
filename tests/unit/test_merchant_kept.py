"""What the merchant was told to do it does until it is told otherwise, whether or not it was restarted meanwhile."""

import pytest

from services.merchant_server.kept import SUFFIX
from tests.unit.merchant_app import merchant


async def behaviour_after_a_restart(path, *changes, **settings):
    async with merchant(path) as shop:
        for change in changes:
            assert (await shop.behave(**change))[0] == 200
    async with merchant(path, **settings) as again:
        return again.listener.behaviour


async def test_an_outage_goes_on_after_a_restart_and_ends_when_it_is_ended(tmp_path):
    path = tmp_path / "ledger.jsonl"
    found = await behaviour_after_a_restart(path, {"mode": "outage", "failure_rate": 0.4})
    assert (found.mode, found.failure_rate) == ("outage", 0.4)
    found = await behaviour_after_a_restart(path, {"mode": "normal", "failure_rate": 0.0})
    assert (found.mode, found.failure_rate) == ("normal", 0.0)


async def test_a_start_with_other_settings_counts(tmp_path):
    found = await behaviour_after_a_restart(tmp_path / "ledger.jsonl", {"mode": "outage"}, latency_ms=5.0)
    assert (found.mode, found.latency_ms) == ("normal", 5.0)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"started_as":', b"\x00\xff"])
async def test_a_damaged_file_keeps_nobody_from_starting(tmp_path, content):
    path = tmp_path / "ledger.jsonl"
    path.with_name(path.name + SUFFIX).write_bytes(content)
    assert (await behaviour_after_a_restart(path)).mode == "normal"


async def test_values_that_are_not_allowed_are_not_taken_from_the_file_either(tmp_path):
    path = tmp_path / "ledger.jsonl"
    await behaviour_after_a_restart(path, {"mode": "outage"})
    kept = path.with_name(path.name + SUFFIX)
    kept.write_bytes(kept.read_bytes().replace(b'"mode":"outage"', b'"mode":"angry"'))
    assert (await behaviour_after_a_restart(path)).mode == "normal"


async def test_a_behaviour_that_cannot_be_kept_is_refused_and_not_half_taken(tmp_path):
    path = tmp_path / "ledger.jsonl"
    async with merchant(path) as shop:
        path.with_name(path.name + SUFFIX).mkdir()
        status, answer = await shop.behave(mode="outage")
        assert status == 500
        assert "cannot be kept" in answer["error"]
        assert shop.listener.behaviour.mode == "normal"
