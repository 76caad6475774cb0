"""A service that dies at the worst of its own lines, under load, loses nothing."""

import json
import signal

from services.common.crash import POINTS
from tests.e2e.conftest import wait_for
from tests.e2e.test_replay_proven import EVENTS, proven, replay_under_way


def die_at(bruce, run, point):
    (died,) = bruce.json("chaos", "crash-point", point, "--run", str(run))
    return died


def die_in_the_publisher(bruce, run, point):
    """The publisher has something to do when a replica dies with a group that it has not given to Kafka."""
    waiting = bruce.start("chaos", "crash-point", point, "--run", str(run), "--json")
    armed = bruce.state / "crash-points" / f"outbox-publisher.{point}"
    wait_for(armed.exists, 20, f"{point} is armed")
    die_at(bruce, run, "api.before-produce")
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, out + err
    return json.loads(out)[0]


def die_in_a_requeue(bruce, run, point):
    bruce.run("chaos", "merchant", "--failure-rate", "0.7", "--run", str(run))
    try:
        return die_at(bruce, run, point)
    finally:
        bruce.run("heal", "merchant-server")


def die(bruce, run, point):
    if point.startswith("publisher."):
        return die_in_the_publisher(bruce, run, point)
    return (die_in_a_requeue if point == "dispatcher.requeue-unreported" else die_at)(bruce, run, point)


def test_dying_at_each_crash_point_under_load_loses_nothing(calm):
    # Traffic for as long as points are to be reached.
    replay, run = replay_under_way(calm, "--repeat", "10", events=40 * EVENTS)
    died = {point: die(calm, run, point) for point in POINTS}
    replay.send_signal(signal.SIGINT)
    out, err = replay.communicate(timeout=120)
    assert json.loads(out)["interrupted"], out + err
    verdict = proven(calm, run, json.loads(out)["answers"]["201"])
    assert {
        point: (one["ok"], one["facts"]["exit_code"], one["facts"]["new_process"]) for point, one in died.items()
    } == {point: (True, entry.exit_code, True) for point, entry in POINTS.items()}
    assert [fault["verified"] for fault in verdict["faults"]].count(False) == 0
    assert "unexplained" not in (verdict["duplicates"] or {}), verdict["duplicates"]


def test_a_point_that_nothing_reaches_makes_a_run_unknown_and_stays_disarmed(calm):
    replay, run = replay_under_way(calm)
    # With every payment in Kafka at once the publisher never claims a row.
    missed = calm.run("chaos", "crash-point", "publisher.after-claim", "--within", "2s", "--run", str(run), expect=1)
    assert "NOT SEEN" in missed.stderr
    assert list((calm.state / "crash-points").iterdir()) == []
    replay.communicate(timeout=120)
    calm.run("heal")
    verdict = json.loads(calm.run("verify", str(run), "--deadline", "150", "--json", expect=12).stdout)
    assert verdict["verdict"] == "unknown"
