"""The stack as `docker compose up --build -d` makes it from a fresh clone, and the control room on top of it."""

import contextlib
import csv
import hashlib
import hmac
import json
import os
import subprocess
import uuid

import pytest
import requests

from control_room.stack.docker.further import ENGINE_RESTART
from control_room.stack.runtime import MEMBERS
from tests.docker.conftest import ROOT, SECRET
from tests.e2e.conftest import wait_for

SCENARIOS = ("kill-each-in-turn", "merchant-outage", "full-process-death", "wipe-kafka")
"""The last makes containers and volumes anew; the others name nothing but members and the merchant's behaviour."""


def test_eleven_members_are_healthy(project):
    found = project.containers()
    assert len(found) == len(MEMBERS)
    assert {one["Health"] for one in found} == {"healthy"}


def test_without_a_secret_compose_refuses_and_says_how_to_make_one(project):
    refused = project.compose("config", "--quiet", expect=None, HMAC_SECRET=None)
    assert refused.returncode != 0
    assert "HMAC_SECRET" in refused.stderr
    assert "openssl rand -hex 32" in refused.stderr


def test_a_client_that_signs_sorted_keys_and_sends_another_layout_gets_201(project):
    with (ROOT / "dataset" / "transactions.csv").open(encoding="utf-8", newline="") as file:
        payload = next(csv.DictReader(file))
    payload |= {"Transaction ID": str(uuid.uuid4()), "Amount (INR)": float(payload["Amount (INR)"])}
    signature = hmac.new(SECRET.encode(), json.dumps(payload, sort_keys=True).encode(), hashlib.sha256).hexdigest()
    answer = requests.post(
        f"http://127.0.0.1:{project.settings['NGINX_PORT']}/events",
        data=json.dumps(payload, indent=3),
        headers={"X-HMAC-Signature": signature, "Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 201, answer.text


def test_what_plain_compose_started_is_adopted_as_it_is(project):
    before = {one["ID"] for one in project.containers()}
    project.control("up")
    assert {one["ID"] for one in project.containers()} == before
    members = project.control_json("status")["members"]["value"]
    assert [(one["name"], one["ready"]) for one in members] == [(name, True) for name in MEMBERS]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenario_ends_proven_as_on_local(project, name):
    project.control("up")
    done = project.control("scenario", "run", name, "--json", expect=None, timeout_s=560)
    result = json.loads(done.stdout)
    assert done.returncode == 0, json.dumps(result, indent=1)
    assert result["measures"]["lost"] == 0
    assert result["measures"]["unexplained"] == 0, result["duplicates"]


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("isolate", "dispatcher"), {"networks": 0, "process_lives": True, "no_answer": True}),
        (("isolate", "kafka-2"), {"networks": 0, "process_lives": True, "no_answer": True}),
        (("disk-full", "kafka-3"), {"limit_bytes": 0}),
        (("disk-full", "postgres"), {"limit_bytes": 0}),
    ],
)
def test_a_fault_that_only_containers_make_possible_is_seen_and_healed(project, words, seen):
    project.control("up")
    (applied,) = project.control_json("chaos", *words)
    assert applied["ok"], applied
    assert applied["facts"] | seen == applied["facts"]
    (healed,) = project.control_json("heal")
    assert healed["healed"], healed
    project.control("up")


def test_several_dispatchers_and_publishers_share_the_work_under_names_of_their_own(project):
    project.compose("up", "--detach", "--wait", "--scale", "dispatcher=3", "--scale", "outbox-publisher=2")
    try:
        kafka = wait_for(
            lambda: (
                len((seen := project.control_json("status")["kafka"]["value"] or {}).get("members", ())) == 3 and seen
            ),
            60,
            "three members in the dispatchers' group",
        )
        names = {one["name"].partition(".")[0] for one in kafka["members"]}
        assert names == {"dispatcher", "dispatcher-2", "dispatcher-3"}
        assert sorted(number for one in kafka["members"] for number in one["partitions"]) == [0, 1, 2]
        _a_further_replica_is_a_member_like_the_others(project)
    finally:
        project.compose("up", "--detach", "--wait")


def _a_further_replica_is_a_member_like_the_others(project):
    """Killed, seen to be dead, healed, seen to answer; asked for its log."""
    assert "take over its work" in project.control("chaos", "kill", "dispatcher-2", "--preview").stdout
    (killed,) = project.control_json("chaos", "kill", "dispatcher-2")
    assert (killed["target"], killed["ok"], killed["facts"]["port_refused"]) == ("dispatcher-2", True, True)
    members = {one["name"]: one for one in project.control_json("status", expect=3)["members"]["value"]}
    assert (members["dispatcher-2"]["state"], members["dispatcher"]["state"]) == ("stopped", "running")
    (healed,) = project.control_json("heal", "dispatcher-2")
    assert (healed["healed"], healed["facts"]["answers"]) == (True, True)
    assert project.control("logs", "dispatcher-3", "--lines", "1").stdout.strip()
    refused = project.control("chaos", "kill", "dispatcher-9", expect=None)
    assert refused.returncode != 0
    assert "no member dispatcher-9" in refused.stderr


def test_brokers_that_come_back_with_each_others_addresses_are_a_cluster_again(project):
    project.control("up")
    kafka = wait_for(
        lambda: (seen := project.control_json("status")["kafka"]["value"] or {}).get("controller") and seen,
        60,
        "a controller",
    )
    killed = [kafka["controller"], kafka["controller"] % 3 + 1]
    names = {one["Service"]: one["Name"] for one in project.containers()}
    brokers = [names[f"kafka-{number}"] for number in killed]
    # The third has just looked for the controller, and asks where it was: there is the other one by then.
    _docker("restart", names[f"kafka-{6 - sum(killed)}"])
    project.control("up")
    had = [_address(name) for name in brokers]
    with _every_address_taken_up_to(max(had), brokers[0]):
        _docker("kill", *brokers)
        # The engine gives away the lowest address that is free.
        for name in sorted(brokers, key=lambda name: had[brokers.index(name)], reverse=True):
            _docker("start", name)
    assert [_address(name) for name in brokers] == had[::-1]
    project.control("up", timeout_s=200)
    run = project.control_json("replay", "--max", "30", "--rate", "30", "--ids", "fresh", timeout_s=120)
    verdict = project.control_json("verify", run["run"], timeout_s=120)
    assert verdict["verdict"] == "proven", verdict


@contextlib.contextmanager
def _every_address_taken_up_to(highest: tuple[int, ...], like: str):
    """By containers of the image and in the network of `like`."""
    found = json.loads(_docker("inspect", like))[0]
    (network,) = found["NetworkSettings"]["Networks"]
    made: list[str] = []
    try:
        while not made or _address(made[-1]) < highest:
            words = ("--detach", "--network", network, "--entrypoint", "sleep", found["Config"]["Image"], "600")
            made.append(_docker("run", *words).strip())
        yield
    finally:
        _docker("rm", "--force", *made)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=60).stdout


def _address(container: str) -> tuple[int, ...]:
    networks = json.loads(_docker("inspect", container))[0]["NetworkSettings"]["Networks"].values()
    (address,) = [one["IPAddress"] for one in networks]
    return tuple(map(int, address.split(".")))


@pytest.mark.skipif(not os.environ.get(ENGINE_RESTART), reason=f"{ENGINE_RESTART} names no command to restart it with")
def test_what_was_accepted_survives_a_restart_of_the_engine_under_load(project):
    project.control("up")
    runs = project.bruce.state / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    replay = project.bruce.start("--runtime", "docker", "replay", "--max", "400", "--rate", "20", "--ids", "fresh")
    (run,) = wait_for(lambda: runs.exists() and set(runs.iterdir()) - before, 30, "the run's folder")
    log = run / "operations.jsonl"
    wait_for(lambda: log.exists() and log.read_bytes().count(b'"invoke"') > 100, 60, "payments under way")
    (restarted,) = project.control_json("chaos", "restart-engine", timeout_s=400)
    assert restarted["ok"], restarted
    assert len(restarted["facts"]["not_restarted"]) == 0
    replay.communicate(timeout=300)
    verdict = json.loads(project.control("verify", str(run), "--json", timeout_s=300).stdout)
    assert verdict["verdict"] == "proven", verdict


def test_down_with_volumes_leaves_nothing_of_the_project(project):
    project.control("down", "--volumes")
    assert project.left() == {"containers": [], "networks": [], "volumes": []}


def test_the_demo_starts_the_stack_breaks_it_and_ends_green_with_nothing_left(project):
    summary = project.control_json("demo", timeout_s=560)
    assert summary["verdict"] == "proven", summary
    assert summary["killed"] == 2
    assert project.left()["containers"] == []


def test_links_crash_points_and_clocks_on_a_stack_that_was_started_for_them(project):
    names = ("cut-nginx-api", "crash-after-2xx", "clock-step-merchant")
    done = project.control("matrix", *names, "--json", expect=None, timeout_s=560)
    results = json.loads(done.stdout)
    assert [(one["scenario"], one["passed"]) for one in results] == [(name, True) for name in names], results
    assert [one["measures"]["lost"] for one in results] == [0, 0, 0]
    assert project.left()["containers"] == []
