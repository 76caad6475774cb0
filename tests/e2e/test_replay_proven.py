"""What a replay through a whole stack comes to, and what its verdict is worth afterwards."""

import json

from control_room.stack.runtime import BROKERS
from tests.e2e.conftest import wait_for

EVENTS = 240


def replay_under_way(bruce, *options, events=EVENTS):
    """A replay in the background, once a quarter of it has left; with the run's folder."""
    runs = bruce.state / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    replay = bruce.start("replay", "--max", str(events), "--rate", "30", "--ids", "fresh", "--json", *options)
    (run,) = wait_for(lambda: runs.exists() and set(runs.iterdir()) - before, 20, "a run folder")
    log = run / "operations.jsonl"
    wait_for(lambda: log.exists() and log.read_bytes().count(b'"invoke"') >= EVENTS // 4, 30, "a quarter sent")
    return replay, run


def proven(bruce, run, events=EVENTS):
    verdict = json.loads(bruce.run("verify", str(run), "--deadline", "150", "--json", expect=None).stdout)
    assert verdict["verdict"] == "proven", json.dumps(verdict, indent=1)
    classes = verdict["classes"]
    assert {name: classes[name] for name in ("lost", "stranded", "phantom", "leaked", "corrupt", "bad-signature")} == {
        "lost": 0,
        "stranded": 0,
        "phantom": 0,
        "leaked": 0,
        "corrupt": 0,
        "bad-signature": 0,
    }
    assert verdict["arithmetic"]["accepted"] == events
    return verdict


def test_with_every_broker_dead_payments_are_accepted_and_arrive_later(calm):
    calm.run("chaos", "kill", *BROKERS)
    runs = calm.state / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    replayed = calm.json("replay", "--max", str(EVENTS), "--ids", "fresh")
    (run,) = set(runs.iterdir()) - before
    assert replayed["answers"] == {"201": EVENTS}, "Kafka down changes nothing for the client"
    calm.run("chaos", "start", *BROKERS)
    proven(calm, run)


def test_the_verdict_is_the_same_offline_and_red_after_a_change(calm):
    replay, run = replay_under_way(calm)
    assert replay.wait(120) == 0
    replay.communicate()
    verdict = proven(calm, run)
    again = json.loads(calm.run("check", str(run), "--json").stdout)
    assert again["verdict"] == "proven"
    assert again["inputs"] == verdict["inputs"]
    ledger = run / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]))
    assert json.loads(calm.run("check", str(run), "--json", expect=12).stdout)["verdict"] == "unknown"
