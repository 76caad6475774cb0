import pytest
from pydantic import ValidationError

from services.common.settings import explain, load
from services.outbox_publisher.health import BEAT_MAX_S, Heartbeat
from services.outbox_publisher.settings import PublisherSettings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in PublisherSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_defaults_are_those_of_the_manual():
    settings = PublisherSettings()
    assert (settings.outbox_poll_interval_sec, settings.outbox_batch_size, settings.outbox_grace_sec) == (0.5, 500, 5.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OUTBOX_BATCH_SIZE", "0"), ("OUTBOX_POLL_INTERVAL_SEC", "soon"), ("METRICS_PORT", "99999"),
     ("OUTBOX_GRACE_SEC", "-1"), ("KAFKA_BOOTSTRAP_SERVERS", "nowhere")],
)  # fmt: skip
def test_a_wrong_value_names_its_variable(monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        load(PublisherSettings)
    assert left.value.code == 2
    assert name in capsys.readouterr().err


def test_a_lease_must_outlast_the_delivery_it_covers(monkeypatch):
    monkeypatch.setenv("OUTBOX_LEASE_SEC", "10")
    with pytest.raises(ValidationError) as caught:
        PublisherSettings()
    assert "OUTBOX_LEASE_SEC (10) must be longer than OUTBOX_TIMEOUT_SEC (10)" in explain(caught.value)[0]


def test_a_loop_that_hangs_is_not_alive(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("services.outbox_publisher.health.time.monotonic", lambda: clock[0])
    heartbeat = Heartbeat()
    clock[0] += BEAT_MAX_S - 1
    assert heartbeat.alive()
    clock[0] += 2
    assert not heartbeat.alive()
    heartbeat.beat()
    assert heartbeat.alive()
