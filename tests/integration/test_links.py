"""A real stack with links: every member dials through its doors, and the proxy comes up and goes down with it."""

import psutil
import pytest
import requests

from control_room.stack.links.client import LinksError
from control_room.stack.links.modes import parse
from control_room.stack.links.names import DOORS
from control_room.stack.local import processes, supervision
from tests.integration.conftest import clean_environment
from tests.integration.fixtures_stores import until


@pytest.fixture(scope="module")
def linked(make_stack):
    stack = make_stack(environ=clean_environment(FAILURE_RATE="0"), links=True)
    stack.up(print)
    yield stack
    stack.down(print)


def proxy_of(stack):
    return processes.read_note(stack.layout.pid_file(supervision.LINKS)).process()


def told(stack):
    try:
        return stack.links().state()
    except LinksError:
        return None


def test_every_client_is_connected_through_its_own_doors_and_to_no_server_past_them(linked):
    state = linked.links().state()
    assert set(state["doors"]) == set(DOORS)
    assert all(state["doors"][f"{client}:postgres"]["total"] for client in ("ingestion-api", "outbox-publisher"))
    behind = {door["to"] for door in state["doors"].values()}
    members = {member.name: member.pid for member in linked.status()}
    for name in ("ingestion-api-1", "outbox-publisher", "dispatcher"):
        tree = processes.tree(psutil.Process(members[name]))
        remote = {c.raddr.port for process in tree for c in process.net_connections("tcp") if c.raddr}
        direct = remote & (behind | set(linked.endpoints().kafka_ports.values()))
        assert direct - {linked.endpoints().ports[name]} == set(), name


def test_a_proxy_that_dies_is_brought_back_and_goes_on_as_it_was_told(linked):
    linked.links().set(["dispatcher:kafka-2"], parse({"mode": "refuse"}))
    before = proxy_of(linked)
    before.kill()
    state = until(lambda: (now := told(linked)) and now["pid"] != before.pid and now, 20, "another proxy")
    assert state["doors"]["dispatcher:kafka-2"]["mode"] == "refuse"
    linked.links().set(["dispatcher:kafka-2"], parse({"mode": "pass"}))
    until(lambda: requests.get(f"{linked.endpoints().api_url}/readyz", timeout=5).ok, 30, "the API answers again")


def test_down_leaves_no_proxy_and_its_ports_free(linked):
    proxy = proxy_of(linked)
    linked.down(print)
    assert processes.is_gone(proxy)
    assert not linked.layout.links_socket.exists()
