"""The stack as `docker compose up --build -d` makes it from a fresh clone, and the control room on top of it."""

import hashlib
import hmac
import json
import time

import pytest
import requests

from control_room.stack.runtime import MEMBERS
from tests.docker.conftest import SECRET
from tests.e2e.conftest import wait_for

SCENARIOS = ("kill-each-in-turn", "freeze-leader", "merchant-outage", "two-brokers", "full-process-death")
"""Those that name nothing but what every runtime has: members, and the merchant's behaviour."""


def test_eleven_members_are_healthy(project):
    found = project.containers()
    assert len(found) == len(MEMBERS)
    assert {one["Health"] for one in found} == {"healthy"}
    print(f"{len(found)} healthy members {project.up_s:.0f} s after `docker compose up --build -d`")


def test_without_a_secret_compose_refuses_and_says_how_to_make_one(project):
    refused = project.compose("config", "--quiet", expect=None, HMAC_SECRET=None)
    assert refused.returncode != 0
    assert "HMAC_SECRET" in refused.stderr
    assert "openssl rand -hex 32" in refused.stderr


def test_a_client_that_signs_sorted_keys_and_sends_another_layout_gets_201(project):
    payload = {"transaction_id": f"sorted-{time.time_ns()}", "amount": 12.5, "currency": "EUR", "status": "success"}
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
    finally:
        project.compose("up", "--detach", "--wait")


def test_down_with_volumes_leaves_nothing_of_the_project(project):
    project.control("down", "--volumes")
    assert project.left() == {"containers": [], "networks": [], "volumes": []}


def test_the_demo_starts_the_stack_breaks_it_and_ends_green_with_nothing_left(project):
    summary = project.control_json("demo", timeout_s=560)
    assert summary["verdict"] == "proven", summary
    assert summary["killed"] == 2
    assert project.left()["containers"] == []
