import os
import stat

import docker
import pytest
from docker.errors import DockerException

from control_room.stack.docker import compose, engine
from control_room.stack.runtime import StackError

REFUSED = "Error while fetching server API version: (ConnectionRefusedError(111, 'Connection refused'))"
FORBIDDEN = "Error while fetching server API version: (PermissionError(13, 'Permission denied'))"


def test_where_no_engine_answers_the_sentence_says_how_to_start_one_and_offers_local(tmp_path):
    with pytest.raises(engine.EngineError, match=r"no Docker engine answers: start it .*--runtime local"):
        engine.connect({"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (REFUSED, r"no Docker engine answers: start it .*--runtime local"),
        (FORBIDDEN, r"may not use the Docker engine: add yourself to the group docker .*--runtime local"),
        ("Gateway timeout", r"does not answer \(Gateway timeout\): look at it with `docker info`.*--runtime local"),
    ],
)
def test_each_reason_has_its_sentence_and_its_way_out(monkeypatch, said, sentence):
    def refuse(**_):
        raise DockerException(said)

    monkeypatch.setattr(docker, "from_env", refuse)
    with pytest.raises(engine.EngineError, match=sentence):
        engine.connect({})
    assert engine.without({})


def test_an_engine_without_compose_is_told_by_the_name_of_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(engine.EngineError, match=r"no docker command on PATH: .*--runtime local"):
        engine.require_compose()
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(engine.EngineError, match=r"install the Compose plugin .*--runtime local"):
        engine.require_compose()
    program.write_text("#!/bin/sh\nexit 0\n")
    engine.require_compose()


def test_members_go_by_service_and_number_as_the_services_name_themselves():
    assert [engine.member_of(*one) for one in (("ingestion-api", 2), ("dispatcher", 1), ("dispatcher", 3))] == [
        "ingestion-api-2",
        "dispatcher",
        "dispatcher-3",
    ]


def test_what_compose_says_is_shown_whole_where_it_fails(monkeypatch, tmp_path):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho ' Container one  Started'\necho 'port is already allocated' >&2\nexit 17\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = []
    with pytest.raises(StackError, match=r"(?s)exit status 17:\n  Container one  Started\n  port is already allocated"):
        compose.run("bruce", ["up"], os.environ, told.append)
    assert told == ["Container one  Started"]
