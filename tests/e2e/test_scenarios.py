"""Every quick scenario that ships, as the command line runs it."""

import json

import psutil
import pytest

from control_room.scenarios.model import find, load, shipped

QUICK = [name for name in shipped() if load(find(name)).quick]
LINKED = [name for name in QUICK if load(find(name)).needs_links]


@pytest.mark.parametrize("name", [name for name in QUICK if name not in LINKED])
def test_the_scenario_ends_proven_with_every_step_done(calm, name):
    ends_proven(calm, name)


def test_a_stack_without_links_refuses_to_fault_one_and_says_how_to_get_them(calm):
    listed = calm.json("chaos", "list")["faults"]["link"]
    assert "the stack was started without --links; take it down and start it with" in listed["unavailable"]
    refused = calm.run("chaos", "link", "dispatcher:postgres", "--mode", "refuse", expect=1)
    assert "`bruce-control up --links`" in refused.stderr
    refused = calm.run("scenario", "run", LINKED[0], expect=3)
    assert "the stack was started without --links; take it down first" in refused.stderr


@pytest.fixture(scope="module")
def linked(bruce):
    """The same stack, its members dialling through links; without them again at the end."""
    bruce.run("down")
    bruce.run("up", "--links")
    yield bruce
    bruce.run("down")
    bruce.run("up")


@pytest.mark.parametrize("name", LINKED)
def test_the_scenario_on_links_ends_proven_with_every_step_done(linked, name):
    linked.run("heal")
    linked.run("up")
    ends_proven(linked, name)


def test_a_fault_on_a_link_ends_with_its_time_and_down_leaves_no_proxy_behind(linked):
    proxy = linked.json("status")["links"]["value"]["pid"]
    linked.run("chaos", "link", "dispatcher:kafka", "--mode", "silence", "--for", "1s")
    assert linked.json("chaos", "list")["open"] == []
    linked.run("down")
    assert not psutil.pid_exists(proxy)
    linked.run("up", "--links")


def ends_proven(bruce, name):
    done = bruce.run("scenario", "run", name, "--json", expect=None, timeout_s=400)
    result = json.loads(done.stdout)
    if result.get("unavailable"):
        assert done.returncode == 1, "not available is never shown as proven"
        pytest.skip(f"not available here: {result['why']}")
    assert result["passed"], json.dumps(result, indent=1)
    assert result["measures"]["accepted"] > 0
    assert result["measures"]["unexplained"] == 0, result["duplicates"]
