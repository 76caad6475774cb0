import pytest

from services.common.settings import load
from services.dispatcher.service import _stall_exit_s
from services.dispatcher.settings import DispatcherSettings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in DispatcherSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HMAC_SECRET", "0123456789abcdef0123456789abcdef")


def test_the_defaults_are_those_of_the_manual():
    found = DispatcherSettings()
    assert (found.max_retries, found.retry_backoff_sec, found.request_timeout_sec) == (3, 2.0, 3.0)
    assert (found.retry_pause_seconds, found.probe_interval_seconds) == (300.0, 5.0)
    assert (found.max_in_flight, found.webhook_url) == (1000, "http://127.0.0.1:5001/webhook_listener")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MAX_RETRIES", "0", "greater than or equal to 1"),
        ("MAX_RETRIES", "three", "valid integer"),
        ("RETRY_BACKOFF_SEC", "0", "greater than 0"),
        ("REQUEST_TIMEOUT_SEC", "nan", "finite number"),
        ("RETRY_PAUSE_SECONDS", "-1", "greater than or equal to 0"),
        ("PROBE_INTERVAL_SECONDS", "soon", "valid number"),
        ("MAX_IN_FLIGHT", "20001", "less than or equal to 20000"),
        ("GROUP_SESSION_TIMEOUT_SEC", "3", "greater than or equal to 6"),
        ("METRICS_PORT", "0", "greater than or equal to 1"),
        ("KAFKA_GROUP_ID", "a group", "must be 1 to 200 letters, digits, dots, dashes or underscores"),
        ("WEBHOOK_URL", "ftp://merchant/", "an http:// or https:// URL with a host"),
        ("WEBHOOK_URL", "http://", "http:// or https:// URL with a host"),
        ("WEBHOOK_URL", "http://[", "must be a URL such as http://127.0.0.1:5001/webhook_listener"),
        ("HMAC_SECRET", "short", "make one with"),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_is_allowed(monkeypatch, capsys, name, value, allowed):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        load(DispatcherSettings)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.count("\n") == 1
    assert said.startswith(f"{name}: ")
    assert allowed in said


def test_a_password_in_the_url_is_refused_and_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("WEBHOOK_URL", "http://user:hunter2@merchant/")
    with pytest.raises(SystemExit):
        load(DispatcherSettings)
    said = capsys.readouterr().err
    assert "WEBHOOK_URL must not hold a user or a password" in said
    assert "hunter2" not in said


def test_a_missing_secret_says_how_to_make_one(monkeypatch, capsys):
    monkeypatch.delenv("HMAC_SECRET")
    with pytest.raises(SystemExit):
        load(DispatcherSettings)
    assert "is not set; make one with: python3 -c" in capsys.readouterr().err


def test_a_long_wait_that_somebody_asked_for_is_no_standstill(monkeypatch):
    assert _stall_exit_s(DispatcherSettings()) >= 120
    monkeypatch.setenv("RETRY_BACKOFF_SEC", "120")
    assert _stall_exit_s(DispatcherSettings()) > 2 * 240
