"""Every merchant fault against a real dispatcher and a real merchant-server, as the chaos room applies them."""

import json
from collections import Counter
from contextlib import contextmanager

import pytest
import requests

from control_room.chaos.injection import apply_fault, heal_all
from control_room.verify.duplicates import Cause, causes
from control_room.verify.history import Arrival, History
from tests.integration.fixtures_stores import free_port, service, until
from tests.unit.member_processes import ProcessRuntime

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_dispatcher"]
TIMEOUT_S = 1.0
EVENTS = 20
FAILING = ["outage", "silent", "refuse", "reset-before-body", "rate-limited", "gone", "redirect"]
ANSWERS = {
    "outage": "500", "silent": "hang", "refuse": "reset", "rate-limited": "429", "gone": "410", "redirect": "301",
    "flapping": "500",
}  # fmt: skip


class Shop:
    """The merchant-server's process, its faults and its ledger."""

    def __init__(self, port, folder):
        self.url = f"http://127.0.0.1:{port}"
        self.runtime = ProcessRuntime([], merchant_url=self.url)
        self.journal = folder / "faults.jsonl"

    def ready(self):
        try:
            return requests.get(f"{self.url}/healthz", timeout=1).ok
        except requests.ConnectionError:
            return False

    def apply(self, **changes):
        record = apply_fault(self.runtime, "merchant", "merchant-server", [self.journal], **changes)
        assert record.evidence.ok, record.evidence.facts

    def heal(self):
        """What deliveries were answered under the fault."""
        (healed,) = heal_all(self.runtime, [self.journal])
        assert healed.evidence.ok
        return healed.evidence.facts["answers"]

    def answers(self):
        return requests.get(f"{self.url}/admin/state", timeout=5).json()["answers"]

    def ledger(self):
        lines = requests.get(f"{self.url}/ledger", params={"limit": 100_000}, timeout=5).content.splitlines()
        return [record for record in map(json.loads, lines) if record["k"] == "req"]

    def delivered(self, ids):
        """How often each of `ids` was taken."""
        wanted = set(ids)
        return Counter(record["id"] for record in self.ledger() if record["status"] == 200 and record["id"] in wanted)

    def history(self, transaction_id):
        found = History()
        for record in self.ledger():
            if record["id"] == transaction_id and record["status"] == 200:
                arrival = Arrival(record["at"], record["src"], record["att"], record["by"])
                found.arrive(arrival, bytes.fromhex(record["sha"]))
        return found


@pytest.fixture
def shop(tmp_path):
    port = free_port()
    environment = {
        "MEMBER_NAME": "merchant-server",
        "MERCHANT_PORT": str(port),
        "LEDGER_PATH": str(tmp_path / "ledger.jsonl"),
        "FAILURE_RATE": "0",
        "REQUEST_TIMEOUT_SEC": str(TIMEOUT_S),
    }
    made = Shop(port, tmp_path)
    with service("services.merchant_server", tmp_path, **environment) as process:
        until(made.ready, what="the merchant")
        yield made
        assert "Traceback" not in process.log_text()


@contextmanager
def delivering(dispatcher, shop, timeout_s):
    url = f"{shop.url}/webhook_listener"
    with dispatcher(WEBHOOK_URL=url, REQUEST_TIMEOUT_SEC=str(timeout_s), RETRY_AFTER_CAP_SEC="1") as process:
        process.assigned()
        yield process
        assert "Traceback" not in process.log_text()


@pytest.fixture
def running(dispatcher, shop):
    with delivering(dispatcher, shop, TIMEOUT_S) as process:
        yield process


@pytest.fixture
def patient(dispatcher, shop):
    """One that a busy machine does not make impatient: what comes twice then comes twice for another reason."""
    with delivering(dispatcher, shop, 10 * TIMEOUT_S) as process:
        yield process


def test_whatever_way_a_merchant_fails_each_event_arrives_once_after_the_heal(running, payments, shop):
    for mode in FAILING:
        shop.apply(mode=mode)
        before = shop.answers().get(ANSWERS.get(mode, mode), 0)
        ids = payments.publish(EVENTS)
        until(
            lambda mode=mode, before=before: shop.answers().get(ANSWERS.get(mode, mode), 0) >= before + EVENTS,
            what=f"the answers of {mode}",
        )
        assert shop.delivered(ids) == {}, f"{mode} takes nothing"
        assert set(shop.heal()) == {ANSWERS.get(mode, mode)}
        until(lambda ids=ids: len(shop.delivered(ids)) == EVENTS, what=f"the deliveries after {mode}")
        assert set(shop.delivered(ids).values()) == {1}, f"{mode}: once each"
    assert "merchant_redirects_followed_total 0.0" in requests.get(f"{shop.url}/metrics", timeout=5).text


@pytest.mark.parametrize("changes", [{"mode": "reset-after-ledger"}, {"mode": "drip", "drip_s": 10 * TIMEOUT_S}])
def test_an_answer_that_does_not_arrive_makes_duplicates_whose_cause_is_known_and_loses_nothing(
    running, payments, shop, changes
):
    shop.apply(**changes)
    ids = payments.publish(EVENTS)
    until(lambda: max(shop.delivered(ids).values(), default=0) >= 3, what="a third delivery of one event")
    shop.heal()
    until(lambda: payments.uncommitted() == 0, what="the commit of everything")
    counts = shop.delivered(ids)
    assert set(counts) == set(ids)
    found = Counter(cause for one in ids for cause in causes(shop.history(one), []))
    assert sum(found.values()) == sum(counts.values()) - EVENTS > 0
    assert set(found) <= {Cause.ANSWER_LOST, Cause.REQUEUED_ALTHOUGH_DELIVERED}
    marks = {record.get("ans") for record in shop.ledger() if record["status"] == 200}
    assert marks == {None, "cut" if changes["mode"] == "reset-after-ledger" else "drip"}


@pytest.mark.parametrize("changes", [{"mode": "huge"}, {"mode": "drip", "drip_s": 0.3 * TIMEOUT_S}])
def test_an_answer_that_is_only_odd_counts_by_its_status_and_nothing_comes_twice(patient, payments, shop, changes):
    shop.apply(**changes)
    ids = payments.publish(5 * EVENTS)
    until(lambda: payments.uncommitted() == 0, what="the commit of everything")
    assert shop.delivered(ids) == dict.fromkeys(ids, 1)
    assert shop.heal() == {changes["mode"]: 5 * EVENTS}


def test_a_merchant_that_flaps_gets_everything_once_in_the_halves_in_which_it_works(running, payments, shop):
    shop.apply(mode="flapping", flap_s=0.5)
    ids = payments.publish(3 * EVENTS)
    until(lambda: shop.answers().get("500", 0) > 0, what="a failure")
    ids += payments.publish(3 * EVENTS)
    until(lambda: payments.uncommitted() == 0, what="the commit of everything, without a heal")
    assert shop.delivered(ids) == dict.fromkeys(ids, 1)
