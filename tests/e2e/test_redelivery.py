"""An operator redelivers on a running stack: the merchant gets it again, and the verdict knows why."""

import json

from tests.e2e.conftest import wait_for
from tests.e2e.test_replay_proven import proven

PAYMENTS = 30


def test_a_redelivery_is_told_right_by_event_the_verdict_and_the_files(calm):
    runs = calm.state / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    calm.json("replay", "--max", str(PAYMENTS), "--ids", "fresh")
    (run,) = set(runs.iterdir()) - before
    proven(calm, run, PAYMENTS)
    sent = [json.loads(line) for line in (run / "operations.jsonl").read_text().splitlines()]
    ids = [line["id"] for line in sent if line["k"] == "invoke"][:3]
    asked = calm.json("redeliver", *ids, "--reason", "the merchant asked", "--yes")
    assert set(asked["redeliveries"]) == set(ids)

    def arrived():
        return all("arrived" in calm.run("event", one).stdout for one in ids)

    wait_for(arrived, 60, "the redeliveries")
    story = calm.json("event", ids[0])
    sent_again = story["webhook"]["requests"][-1]["headers"]
    assert sent_again["X-Bruce-Redelivery"] == str(asked["redeliveries"][ids[0]])
    assert sent_again["webhook-signature"].startswith("v1,")
    assert [note for note in story["webhook"]["notes"] if "verify" in note or "other bytes" in note] == []
    verdict = proven(calm, run, PAYMENTS)
    assert verdict["duplicates"].get("redelivered-by-operator") == 3
    assert "unexplained" not in verdict["duplicates"]
    assert any("3 redeliveries were asked for" in note for note in verdict["notes"])
    again = json.loads(calm.run("check", str(run), "--json").stdout)
    assert again["duplicates"] == verdict["duplicates"]
