"""Faults on links: each seen by a connection of the injector's own and by the proxy's counters, healed, refused."""

import dataclasses

import pytest

from control_room.chaos import link_fault
from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.errors import FaultError, UnavailableError
from control_room.chaos.injection import apply_fault, apply_faults, heal_all, preview_fault
from control_room.chaos.journal import FaultJournal
from control_room.chaos.observe import answers
from control_room.chaos.open_faults import open_faults
from control_room.stack.links.modes import Mode
from control_room.stack.runtime import BROKERS
from tests.unit.link_proxy import Proxy
from tests.unit.member_processes import ProcessRuntime, wait_until

MEMBERS = ("postgres", "kafka-1", "kafka-2", "kafka-3", "merchant-server")
DOORS = {f"dispatcher:{member}": member for member in MEMBERS}


class LinkedRuntime(ProcessRuntime):
    """Servers behind a real proxy."""

    def __init__(self, folder):
        super().__init__(MEMBERS)
        self.proxy = Proxy(folder, {door: self.ports[member] for door, member in DOORS.items()})
        self.own_merchant = True
        for member in MEMBERS:
            wait_until(lambda: answers(("127.0.0.1", self.ports[member]), member))  # noqa: B023 - called at once

    def links(self):
        return self.proxy.links

    def endpoints(self):
        url = f"http://127.0.0.1:{self.ports['merchant-server']}"
        hook = f"{url}/webhook_listener" if self.own_merchant else "https://shop.example/hook"
        return dataclasses.replace(super().endpoints(), merchant_url=url, webhook_url=hook)

    def close(self):
        self.proxy.close()
        super().close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    runtime = LinkedRuntime(tmp_path_factory.mktemp("links"))
    yield runtime
    runtime.close()


@pytest.fixture
def runtime(made):
    yield made
    made.proxy.links.set(list(DOORS), Mode())
    made.own_merchant = True


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


@pytest.mark.parametrize(
    ("params", "facts"),
    [
        ({"mode": "refuse"}, {"bytes_through": 0, "open": 0, "probe": "refused"}),
        ({"mode": "silence"}, {"bytes_through": 0, "probe": "nothing"}),
        ({"mode": "slow", "latency_ms": 80, "jitter_ms": 20}, {"asked_ms": 120, "probe": "answered"}),
        ({"mode": "reset-after", "bytes": 5}, {"resets": 3, "probe": "reset"}),
    ],
)
def test_a_fault_on_a_link_is_seen_at_each_of_its_doors_and_healed(runtime, journal, params, facts):
    record = apply_fault(runtime, "link", "dispatcher:kafka", [journal], **params)
    assert record.evidence.ok, record.evidence
    assert facts.items() <= record.evidence.facts.items()
    assert record.evidence.facts.get("measured_ms", 120) >= 120
    assert {runtime.proxy.door(f"dispatcher:{broker}")["mode"] for broker in BROKERS} == {params["mode"]}
    assert runtime.proxy.door("dispatcher:postgres")["mode"] == "pass"
    assert len(open_faults(journal)) == 1
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok, healed.evidence
    assert healed.evidence.facts["answered"] == 3
    assert open_faults(journal) == []


def test_bytes_a_second_are_measured_too(runtime, journal):
    record = apply_fault(runtime, "link", "dispatcher:postgres", [journal], mode="slow", bytes_per_s=500)
    assert record.evidence.ok, record.evidence
    assert record.evidence.facts["measured_ms"] >= record.evidence.facts["asked_ms"] > 50


def test_one_broker_alone_can_be_cut_off(runtime, journal):
    assert apply_fault(runtime, "link", "dispatcher:kafka-2", [journal], mode="silence").evidence.ok
    modes = [runtime.proxy.door(f"dispatcher:{broker}")["mode"] for broker in BROKERS]
    assert modes == ["pass", "silence", "pass"]


def test_a_fault_that_the_proxy_did_not_take_is_no_evidence(runtime, journal, monkeypatch):
    monkeypatch.setattr(link_fault.LinkFault, "apply", lambda *_: None)
    monkeypatch.setattr(link_fault, "CUT_DEADLINE_S", 0.2)
    monkeypatch.setattr(link_fault, "RESET_DEADLINE_S", 0.2)
    every = ({"mode": "refuse"}, {"mode": "silence"}, {"mode": "slow", "latency_ms": 500})
    for params in (*every, {"mode": "reset-after", "bytes": 1}):
        record = apply_fault(runtime, "link", "dispatcher:postgres", [journal], **params)
        assert not record.evidence.ok, params


def test_a_reset_that_no_connection_has_reached_is_not_seen(runtime, journal, monkeypatch):
    monkeypatch.setattr(link_fault, "RESET_DEADLINE_S", 0.5)
    record = apply_fault(runtime, "link", "dispatcher:postgres", [journal], mode="reset-after", bytes=100_000)
    assert not record.evidence.ok
    assert record.evidence.facts["resets"] == 0


def test_another_process_heals_what_a_killed_injector_left(runtime, journal):
    fault = link_fault.LinkFault.faulting("dispatcher:postgres", {"mode": "silence"})
    fault.prepare(runtime)
    line = {"k": "apply", "fault": 1, "name": fault.name, "target": fault.target, "at": 1.0, "expect": ""}
    FaultJournal(journal).append({**line, "before": fault.facts})
    fault.apply(runtime)
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert healed.evidence.facts["during"]["bytes_through"] == 0
    assert runtime.proxy.door()["mode"] == "pass"


def test_a_link_is_healed_although_its_server_is_down(runtime, journal):
    apply_fault(runtime, "link", "dispatcher:postgres", [journal], mode="refuse")
    runtime.kill(["postgres"])
    try:
        (healed,) = heal_all(runtime, [journal])
        assert healed.evidence.ok
        assert healed.evidence.facts["answered"] == 1
    finally:
        runtime.start(["postgres"])
        wait_until(lambda: answers(("127.0.0.1", runtime.ports["postgres"]), "postgres"))


def test_two_links_are_cut_before_the_first_is_looked_at(runtime, journal):
    targets = ["dispatcher:postgres", "dispatcher:merchant-server"]
    records = apply_faults(runtime, "link", targets, [journal], mode="silence")
    assert [record.evidence.ok for record in records] == [True, True]
    assert [line["k"] for line in FaultJournal(journal).records()] == ["apply", "apply", "evidence", "evidence"]


@pytest.mark.parametrize(
    ("target", "params", "words"),
    [
        ("dispatcher", {"mode": "refuse"}, "link cannot hit dispatcher; it can hit ingestion-api:postgres,"),
        ("dispatcher:postgres", {}, "mode must be one of"),
        ("dispatcher:postgres", {"mode": "pass"}, "no fault"),
        ("dispatcher:postgres", {"mode": "silence", "bytes": 3}, "silence takes no numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(runtime, journal, target, params, words):
    with pytest.raises(FaultError, match=words):
        apply_fault(runtime, "link", target, [journal], **params)
    assert not journal.exists()


def test_a_link_is_faulted_once_at_a_time(runtime, journal):
    apply_fault(runtime, "link", "dispatcher:kafka-2", [journal], mode="refuse")
    with pytest.raises(FaultError, match=r"dispatcher:kafka-2 \(refuse\) is faulted already; heal it first"):
        apply_fault(runtime, "link", "dispatcher:kafka", [journal], mode="silence")


def test_a_dispatcher_that_delivers_elsewhere_does_not_use_its_link(runtime, journal):
    runtime.own_merchant = False
    with pytest.raises(FaultError, match=r"delivers to https://shop\.example/hook, which no link"):
        apply_fault(runtime, "link", "dispatcher:merchant-server", [journal], mode="refuse")


def test_a_stack_without_links_says_how_to_get_them(runtime, journal, monkeypatch):
    assert CATALOGUE["link"].unavailable(runtime) is None
    monkeypatch.setattr(runtime, "links", lambda: None)
    with pytest.raises(UnavailableError, match=r"started without --links; .*`bruce-control up --links`"):
        apply_fault(runtime, "link", "dispatcher:postgres", [journal], mode="refuse")
    assert not journal.exists()


def test_a_preview_says_what_is_hit_and_what_follows(runtime):
    with runtime.proxy.dial():
        wait_until(lambda: runtime.proxy.door()["open"] == 1)
        said = preview_fault(runtime, "link", "dispatcher:postgres", mode="slow", latency_ms=200, jitter_ms=50)
    assert said == (
        "link dispatcher:postgres, slow, latency 200 ms, jitter 50 ms: 1 connection open; "
        "everything on it comes later, in order"
    )
    assert "bounded backlog" in preview_fault(runtime, "link", "dispatcher:postgres", mode="silence")
