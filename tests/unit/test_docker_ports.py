import pytest

from control_room.stack.docker.ports import USUAL, chosen
from control_room.stack.runtime import StackError
from scripts.env_example import COMPOSE


def test_where_nothing_is_taken_the_ports_are_those_that_the_compose_file_has_itself():
    text = COMPOSE.read_text(encoding="utf-8")
    for variable, value in chosen({}, lambda _: True).items():
        assert f"${{{variable}:-{value}}}" in text


def test_one_taken_port_moves_all_that_nobody_set_by_the_same_hundreds():
    found = chosen({"NGINX_PORT": "8080"}, lambda port: port not in (8003, 5101))
    assert found["NGINX_PORT"] == "8080"
    assert (found["API_PORTS"], found["MERCHANT_PORT"], found["KAFKA_3_PORT"]) == ("8201-8219", "5201", "19294")
    assert set(found) == set(USUAL) - {"LINKS_PORTS"}
    assert chosen({}, lambda port: port != 18205, links=True)["LINKS_PORTS"] == "18300-18316"


def test_a_taken_port_that_the_user_set_is_named_with_its_variable():
    with pytest.raises(StackError, match=r"port 8002 \(API_PORTS\) is taken by"):
        chosen({"API_PORTS": "8001-8019"}, lambda port: port != 8002)


WRONG = [("NGINX_PORT", "8000-8010"), ("API_PORTS", "x"), ("POSTGRES_PORT", "0")]


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_what_is_no_port_is_refused_with_what_it_may_be(variable, text):
    with pytest.raises(StackError, match=rf"{variable} must be a port"):
        chosen({variable: text}, lambda _: True)


def test_where_nothing_is_free_it_says_so_instead_of_looking_for_ever():
    with pytest.raises(StackError, match="stop another stack first"):
        chosen({}, lambda _: False)
