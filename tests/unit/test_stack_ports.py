import json
import os
import socket

import pytest

from control_room.stack.local import ports
from control_room.stack.runtime import API_REPLICAS, StackError


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_port_of_a_stack_is_another_one():
    chosen = ports.choose({}, {})
    assert len(set(chosen.values())) == len(chosen) == 17


def test_a_taken_preferred_port_gives_way_to_the_next_free_one(monkeypatch):
    monkeypatch.setattr(ports, "is_free", lambda port: port not in (8000, 8010))
    assert ports.choose({}, {})["nginx"] == 8020


def test_a_port_the_user_chose_is_used_or_refused_never_replaced(taken):
    with pytest.raises(StackError, match=rf"port {taken} \(NGINX_PORT\) is taken by .*\(pid {os.getpid()}\)"):
        ports.choose({"nginx": taken}, {})


def test_the_ports_of_a_stack_are_kept_while_they_are_free(taken):
    first = ports.choose({}, {})
    again = ports.choose({}, {**first, "nginx": taken})
    assert again.pop("nginx") != taken
    first.pop("nginx")
    assert again == first


def test_ports_of_other_stacks_are_left_alone_even_while_those_are_down():
    first = ports.choose({}, {})
    assert set(ports.choose({}, {}, others=first.values()).values()).isdisjoint(first.values())


def test_the_registry_knows_the_ports_of_other_stacks_only(tmp_path):
    for name, port in (("one", 1111), ("two", 2222)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stack.json").write_text(json.dumps({"ports": {"nginx": port}}))
    registry = tmp_path / "stacks"
    registry.write_text(f"{tmp_path / 'one'}\n{tmp_path / 'two'}\n{tmp_path / 'gone'}\n")
    assert ports.registry_ports(registry, tmp_path / "one") == {2222}
    assert ports.registry_ports(tmp_path / "none", tmp_path) == set()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NGINX_PORT", "http"),
        ("NGINX_PORT", "0"),
        ("NGINX_PORT", "70000"),
        ("API_PORTS", "8001,8002"),
        ("API_PORTS", "1,1,2"),
    ],
)
def test_a_wrong_port_is_refused_with_the_name_of_its_variable(variable, text):
    with pytest.raises(StackError, match=variable):
        ports.asked_for({variable: text})


def test_a_list_of_ports_sets_one_for_each_member():
    assert ports.asked_for({"API_PORTS": "9001, 9002,9003"}) == dict(zip(API_REPLICAS, (9001, 9002, 9003), strict=True))
