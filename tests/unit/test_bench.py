"""The bench: what it counts is what happened, and what has become dearer is said."""

import json
import os
import subprocess
import sys
import threading
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from bench import kept
from bench.__main__ import main
from bench.adapters import ADAPTERS, Target, make_adapter
from bench.evaluate import figures
from bench.load import Attempt, Behaviour, Load, Published
from bench.measure import Patience, measure
from bench.processes import tree_cpu_s
from bench.receiver import Receiver
from services.common.event import parse_body, validate
from services.common.signing import Secrets
from tests.unit.member_processes import free_port

SECRET = "bench-test-secret-0123456789"
QUICK = Patience(settle_s=0, quiet_s=3, drain_s=20)
BRUCE = Target("bruce", "http://127.0.0.1:8000", {"secret": SECRET})


def published(*events):
    """Each of `events`: when it was due, sent and answered, its status and its tries."""
    found = Published.empty(len(events))
    for i, (due_s, sent_s, answered_s, status, tries) in enumerate(events):
        found.scheduled_s[i], found.sent_s[i], found.answered_s[i] = due_s, sent_s, answered_s
        found.status[i], found.tries[i] = status, tries
    return found


def split(request):
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return lines[0], dict(line.split(": ", 1) for line in lines[1:]), body


@pytest.fixture
def receiver():
    with Receiver(free_port()) as running:
        yield running


def test_an_event_for_bruce_is_valid_and_signed():
    adapter = make_adapter(BRUCE)
    [event_id] = adapter.event_ids("tag", 1)
    line, headers, body = split(adapter.request([(event_id, 7)]))
    assert line == "POST /events HTTP/1.1"
    assert Secrets.parse(SECRET).verify(headers["X-HMAC-Signature"], body)
    assert validate(*parse_body(body)).transaction_id == event_id
    assert int(headers["Content-Length"]) == len(body)


def test_several_events_for_bruce_are_a_batch_signed_as_a_whole():
    adapter = make_adapter(BRUCE)
    ids = adapter.event_ids("tag", 3)
    line, headers, body = split(adapter.request([(event_id, i) for i, event_id in enumerate(ids)]))
    assert line == "POST /events/batch HTTP/1.1"
    assert Secrets.parse(SECRET).verify(headers["X-HMAC-Signature"], body)
    assert [event["Transaction ID"] for event in json.loads(body)] == ids


def test_each_tag_has_ids_of_its_own():
    adapter = make_adapter(BRUCE)
    assert not set(adapter.event_ids("a", 50)) & set(adapter.event_ids("b", 50))


@pytest.mark.parametrize(
    ("name", "path", "id_at"),
    [
        ("receiver", "/", None),
        ("outpost", "/api/v1/publish", "id"),
        ("svix", "/api/v1/app/app_1/msg/", "eventId"),
        ("convoy", "/api/v1/projects/p_1/events", "idempotency_key"),
    ],
)
def test_each_peer_is_given_the_same_payment_in_its_own_wrapping(name, path, id_at):
    options = {"token": "t", "tenant": "t_1", "app": "app_1", "project": "p_1", "endpoint": "e_1"}
    line, headers, body = split(make_adapter(Target(name, "http://127.0.0.1:1", options)).request([("id-1", 5)]))
    assert line == f"POST {path} HTTP/1.1"
    assert headers["Authorization"] == "Bearer t"
    assert b'"Transaction ID":"id-1"' in body
    assert id_at is None or json.loads(body)[id_at] == "id-1"


def test_latency_counts_from_when_an_event_was_due_to_its_first_success():
    sent = published((1.0, 1.5, 1.6, 201, 1), (2.0, 2.0, 2.1, 201, 1))
    attempts = [Attempt("a", 1.7, False), Attempt("a", 3.0, True), Attempt("a", 9.0, True), Attempt("b", 2.2, True)]
    found = figures(Load(2, rate_per_s=1), ["a", "b"], sent, attempts)
    assert found["scheduled_to_delivered_ms"]["max"] == 2000.0
    assert found["accepted_to_delivered_ms"]["max"] == 1400.0
    assert (found["delivered"], found["missing"], found["attempts"]) == (2, 0, 4)
    assert (found["duplicates"], found["duplicates_of_events_sent_once"]) == (1, 1)
    assert found["first_try"]["delivered"] == 1
    assert found["accept_ms"]["max"] == 600.0
    assert found["publisher_late_ms"]["max"] == 500.0


def test_what_was_acknowledged_and_never_came_is_missing_and_what_was_refused_is_not():
    sent = published((1.0, 1.0, 1.1, 201, 1), (1.0, 1.0, 1.1, 400, 1), (1.0, 1.0, 1.1, 503, 3), (1.0, 1.0, 1.1, 201, 1))
    found = figures(
        Load(4), list("abcd"), sent, [Attempt("d", 2.0, True), Attempt("c", 2.0, True), Attempt("z", 2.0, True)]
    )
    assert (found["acknowledged"], found["missing"], found["delivered_unacknowledged"]) == (2, 1, 1)
    assert (found["foreign"], found["sent_again"]) == (1, 1)


def test_a_load_of_which_nothing_was_answered_has_figures_too():
    found = figures(Load(3), list("abc"), Published.empty(3), [])
    assert (found["acknowledged"], found["delivered_per_s"], found["accept_ms"]["p99"]) == (0, 0.0, None)


def test_a_backlog_that_grows_shows_in_the_fifths():
    sent = published(*((float(i), float(i), i + 0.1, 201, 1) for i in range(1, 101)))
    attempts = [Attempt(str(i), i + i / 10, True) for i in range(1, 101)]
    found = figures(Load(100, rate_per_s=1), [str(i) for i in range(1, 101)], sent, attempts)
    assert found["p50_ms_of_fifths"] == sorted(found["p50_ms_of_fifths"])
    assert found["p50_ms_of_fifths"][-1] > 8 * found["p50_ms_of_fifths"][0]


@pytest.mark.parametrize("load", [Load(4000, connections=8), Load(200, rate_per_s=400.0)], ids=lambda load: load.mode)
def test_what_goes_straight_into_the_receiver_is_all_there_once(receiver, load):
    target = Target("receiver", receiver.url, pids={"itself": os.getpid()})
    found = measure(target, receiver, load, Behaviour(), QUICK)
    assert (found["acknowledged"], found["delivered"], found["missing"]) == (load.events,) * 2 + (0,)
    assert (found["duplicates"], found["foreign"], found["answers"]) == (0, 0, {"200": load.events})
    assert found["bench_cpu_s_per_1000"] > 0
    assert set(found["cpu_s_per_1000_by_part"]) == {"itself"}


def test_a_receiver_that_fails_is_sent_to_again_until_it_succeeds(receiver):
    found = measure(Target("receiver", receiver.url), receiver, Load(60, connections=30), Behaviour(failing=0.3), QUICK)
    assert (found["acknowledged"], found["missing"]) == (60, 0)
    assert found["answers"]["500"] == found["attempts"] - 60 > 0
    assert 0 < found["first_try"]["delivered"] < 60


def test_a_measurement_knows_nothing_of_the_one_before(receiver):
    target = Target("receiver", receiver.url)
    for _ in range(2):
        assert measure(target, receiver, Load(20), Behaviour(), QUICK)["foreign"] == 0


def test_a_receiver_that_hangs_takes_the_request_and_does_not_answer(receiver):
    receiver.begin(Behaviour(hanging=1.0))
    with pytest.raises(requests.ReadTimeout):
        requests.post(receiver.url, json={"Transaction ID": "x"}, timeout=0.5)
    assert [(one.event_id, one.ok) for one in receiver.collect()] == [("x", False)]
    assert receiver.delivered == 0


def test_a_port_that_is_taken_is_said(receiver):
    port = int(receiver.url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"port {port} cannot be listened on"), Receiver(port):
        pass


@pytest.fixture
def batch_api():
    """Takes batches: of each the first event is refused; the very first batch gets no answer at all."""
    seen = []

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append([event["Transaction ID"] for event in events])
            if len(seen) == 1:
                self.close_connection = True
                return
            results = [{"status": 400 if i == 0 else 201} for i in range(len(events))]
            body = json.dumps({"results": results}).encode()
            self.send_response(207)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.seen = seen
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_event_of_a_batch_is_counted_by_its_own_answer(receiver, batch_api):
    target = Target("bruce", f"http://127.0.0.1:{batch_api.server_port}", {"secret": SECRET})
    patience = Patience(settle_s=0, quiet_s=0.2, drain_s=5)
    found = measure(target, receiver, Load(40, connections=1, batch=10), Behaviour(), patience)
    assert found["acknowledged"] == 36
    assert found["sent_again"] == 10, "the batch without an answer, as it was"
    assert batch_api.seen[0] == batch_api.seen[1]
    assert found["answers"] == {"0": 1, "207": 4}


def test_the_cpu_of_a_tree_is_that_of_its_children_too():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        for _ in range(600):
            found = tree_cpu_s({"it": process.pid})["it"]
            if found >= 0.3:
                break
            threading.Event().wait(0.05)
        process.stdin.close()
    assert found >= 0.3
    assert tree_cpu_s({"gone": process.pid}) == {"gone": 0.0}


def result(cpu_s, calibrate_us=150.0, **rows):
    return {"calibrate_us": calibrate_us, "rows": {"closed": {"cpu_s_per_1000": cpu_s}, **rows}}


@pytest.mark.parametrize(("measured", "worse"), [(1.0, False), (2.2, False), (2.31, True), (4.0, True)])
def test_more_than_15_percent_more_cpu_is_worse(measured, worse):
    [found] = kept.compare(result(measured), result(2.0))
    assert found.worse is worse
    assert ("WORSE" in found.line()) is worse


def test_a_machine_half_as_fast_may_take_twice_as_long():
    [same] = kept.compare(result(4.0, calibrate_us=300.0), result(2.0))
    assert same.change == pytest.approx(0)
    [worse] = kept.compare(result(4.0, calibrate_us=200.0), result(2.0))
    assert worse.worse


def test_only_rows_that_both_results_have_are_compared():
    found = kept.compare(result(2.0, idle={"memory_mib": 1}, bulk={"cpu_s_per_1000": 1.0}), result(2.0, idle={}))
    assert [one.row for one in found] == ["closed"]


def test_what_is_kept_is_read_again(tmp_path):
    assert kept.read_kept(tmp_path / "none.json") is None
    kept.keep(result(2.0), tmp_path / "kept.json")
    assert kept.read_kept(tmp_path / "kept.json") == result(2.0)


def test_a_load_against_a_peer_file_prints_its_figures(tmp_path):
    port = free_port()
    pid_file = tmp_path / "peer.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    peer = {"adapter": "receiver", "base_url": f"http://127.0.0.1:{port}", "pids": {"peer": str(pid_file)}}
    (tmp_path / "peer.json").write_text(json.dumps(peer))
    arguments = ["load", str(tmp_path / "peer.json"), "--events", "50", "--receiver-port", str(port)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["delivered"], found["missing"]) == (50, 0)
    assert found["calibrate_us"] > 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{}", "is not a peer file"), ("nope", "is not a peer file"),
     ('{"adapter": "x", "base_url": "http://h:1"}', "the adapter must be one of receiver, outpost"),
     ('{"adapter": "svix", "base_url": "http://h:1", "pids": {"a": "/none"}}', "/none holds no pid")],
)  # fmt: skip
def test_a_peer_file_that_is_not_one_is_a_sentence(tmp_path, text, sentence):
    (tmp_path / "peer.json").write_text(text)
    done = CliRunner().invoke(main, ["load", str(tmp_path / "peer.json")])
    assert done.exit_code == 1
    assert sentence in done.output.replace("\n", " ")


def test_every_adapter_is_described_for_whoever_repeats_the_comparison():
    page = Path("bench/PEERS.md").read_text(encoding="utf-8")
    assert [name for name in ADAPTERS if f'"adapter": "{name}"' not in page and name != "receiver"] == []
    assert isinstance(Published.empty(2).status, array)


def test_several_results_are_told_by_median_and_spread_and_a_row_that_one_lacks_by_the_others(tmp_path):
    rates = {"a": (900, 2.0), "b": (1200, 1.5), "c": (1000, None)}
    for name, (rate, idle) in rates.items():
        rows = {"closed": {"delivered_per_s": rate, "missing": 0, "machine": "x"}}
        rows |= {} if idle is None else {"idle": {"share_of_a_core": idle}}
        document = {"calibrate_us": 130, "calibrate_after_us": 140, "rows": rows}
        (tmp_path / name).write_text(json.dumps(document))
    done = CliRunner().invoke(main, ["spread", *(str(tmp_path / name) for name in rates)])
    assert done.exit_code == 0
    assert "| closed | delivered/s | 1000 | 900 - 1200 |" in done.output
    assert "| closed | missing | 0 | 0 - 0 |" in done.output
    assert "| idle | share of a core | 1.75 | 1.5 - 2 |" in done.output
    (tmp_path / "d").write_text("{}")
    done = CliRunner().invoke(main, ["spread", str(tmp_path / "d")])
    assert done.exit_code == 1
    assert "not all of these are results of `table`" in done.output
