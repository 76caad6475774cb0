from collections import Counter
from random import Random

import pytest
from pydantic import ValidationError

from control_room.chaos.merchant_fields import FIELDS, MODES
from services.common.settings import explain
from services.merchant_server.behaviour import Answer, Behaviour, BehaviourError, Mode
from services.merchant_server.settings import MerchantSettings


def _drawn(behaviour, count=20_000):
    chance = Random(7)
    return Counter(behaviour.draw(chance) for _ in range(count))


def test_the_failure_rate_is_a_share_of_requests_half_of_them_held_back():
    found = _drawn(Behaviour(failure_rate=0.7))
    assert found[Answer.OK] == pytest.approx(6000, abs=300)
    assert found[Answer.ERROR] == pytest.approx(7000, abs=300)
    assert found[Answer.HANG] == pytest.approx(7000, abs=300)


@pytest.mark.parametrize(("rate", "share", "answer"), [(0, 1, Answer.OK), (1, 0, Answer.ERROR), (1, 1, Answer.HANG)])
def test_shares_of_none_and_all_have_no_exceptions(rate, share, answer):
    assert set(_drawn(Behaviour(failure_rate=rate, timeout_share=share), 1000)) == {answer}


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.NORMAL])
def test_every_other_mode_answers_one_way_whatever_the_failure_rate(mode):
    assert len(_drawn(Behaviour(mode=mode, failure_rate=0.5), 100)) == 1


def test_a_flapping_merchant_fails_first_then_works_and_so_on():
    behaviour, chance = Behaviour(mode=Mode.FLAPPING, flap_s=2.0, failure_rate=0.0), Random(7)
    found = [behaviour.draw(chance, since_s) for since_s in (0, 1.99, 2, 3.9, 4, 5.9, 6, 1_000_002)]
    assert found == [Answer.ERROR, Answer.ERROR, Answer.OK, Answer.OK] * 2
    works = Behaviour(mode=Mode.FLAPPING, flap_s=2.0, failure_rate=1.0, timeout_share=1.0)
    assert works.draw(chance, 3) is Answer.HANG, "the working half is as `normal` would be"


def test_every_mode_and_field_can_be_set_from_the_control_room_within_the_merchants_own_limits():
    assert tuple(MODES) == tuple(Mode)
    assert set(FIELDS) == set(Behaviour().document()) - {"mode"}
    for name, limits in FIELDS.items():
        for value in (limits.low, limits.high):
            changed = Behaviour().changed({name: value}, caller_timeout_s=0.05).document()
            assert changed[name] == value
            assert type(changed[name]) is (int if limits.whole else float)


def test_a_change_leaves_everything_else_as_it_is():
    before = Behaviour(failure_rate=0.3, latency_ms=5)
    after = before.changed({"mode": "gone", "latency_ms": 7}, caller_timeout_s=3)
    assert (after.mode, after.latency_ms, after.failure_rate) == (Mode.GONE, 7, 0.3)
    assert before.mode is Mode.NORMAL


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("failure_rate", 1.1, "must be a number from 0 to 1"),
        ("failure_rate", True, "must be a number from 0 to 1"),
        ("failure_rate", "0.5", "must be a number from 0 to 1"),
        ("failure_rate", float("nan"), "must be a number from 0 to 1"),
        ("timeout_share", -0.1, "must be a number from 0 to 1"),
        ("latency_ms", -1, "must be a number from 0 to 600000"),
        ("hang_s", 3, "must be more than the callers' time-out of 3 s and at most 3600"),
        ("retry_after_s", None, "must be a number from 0 to 86400"),
        ("drip_s", 0, "must be a number from 0.05 to 600"),
        ("flap_s", 0, "must be a number from 0.1 to 3600"),
        ("huge_bytes", 1000, "must be a whole number from 65537 to 1073741824"),
        ("huge_bytes", 100_000.5, "must be a whole number from 65537 to 1073741824"),
        ("mode", "broken", f"must be one of {', '.join(Mode)}"),
        ("mode", 7, f"must be one of {', '.join(Mode)}"),
        ("failurerate", 1, "is not a field of the behaviour; there are mode, failure_rate, "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(field, value, allowed):
    with pytest.raises(BehaviourError) as caught:
        Behaviour().changed(
            {field: value, "latency_ms": 5} if field != "latency_ms" else {field: value}, caller_timeout_s=3
        )
    assert list(caught.value.fields) == [field]
    assert caught.value.fields[field].startswith(allowed)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(BehaviourError) as caught:
        Behaviour().changed({"mode": "x", "failure_rate": 2}, caller_timeout_s=3)
    assert set(caught.value.fields) == {"mode", "failure_rate"}
    with pytest.raises(BehaviourError, match="JSON object"):
        Behaviour().changed([1], caller_timeout_s=3)


SECRET = "settings-test-secret-0123456789"


def _settings(monkeypatch, **variables):
    for name, value in {"HMAC_SECRET": SECRET, **variables}.items():
        monkeypatch.setenv(name, value)
    return MerchantSettings()


def test_the_settings_have_the_documented_defaults(monkeypatch):
    found = _settings(monkeypatch)
    assert (found.merchant_port, found.failure_rate, found.timeout_share, found.hang_s) == (5001, 0.7, 0.5, 30)
    assert _settings(monkeypatch, REQUEST_TIMEOUT_SEC="40").hang_s == 80
    assert _settings(monkeypatch, HANG_SEC="90").hang_s == 90


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"FAILURE_RATE": "1.5"}, "FAILURE_RATE: Input should be less than or equal to 1 (given: '1.5')"),
        ({"MERCHANT_PORT": "http"}, "MERCHANT_PORT: "),
        ({"HANG_SEC": "2"}, "HANG_SEC must be more than REQUEST_TIMEOUT_SEC (3)"),
        ({"HMAC_SECRET": "short"}, "HMAC_SECRET: "),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(monkeypatch, variables, sentence):
    with pytest.raises(ValidationError) as caught:
        _settings(monkeypatch, **variables)
    [explained] = explain(caught.value)
    assert sentence in explained
    assert SECRET not in explained
