"""A stack that the control room did not start, behind SASL_SSL and TLS: watched, replayed into, judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import KafkaException
from psycopg.conninfo import make_conninfo

import dataset
from services.common.kafka import make_admin
from services.common.settings import KafkaSettings
from tests.e2e.terminal import Terminal
from tests.integration.fixtures_secured import MECHANISM, PASSWORD, SECRET, USER
from tests.integration.fixtures_stores import ROOT, until

pytest_plugins = ["tests.integration.fixtures_secured"]

PAYMENTS = 300


HOOKS = """
hooks:
  freeze:
    apply: sh -c "kill -STOP $(cat {member}.pid)"
    heal: sh -c "kill -CONT $(cat {member}.pid)"
    evidence: sh -c "grep -q '^State:.T' /proc/$(cat {member}.pid)/status"
"""


def yaml_of(stack, *, members=None, hooks=HOOKS):
    """The configuration as a user writes it, secrets in a file and in variables."""
    (stack.folder / "kafka-password").write_text(f"{PASSWORD}\n")
    named = stack.members if members is None else members
    return f"""
api: {stack.api}
secret: ${{STAGING_SECRET}}
members:
{lines_of(named)}
kafka:
  bootstrap.servers: {stack.bootstrap}
  security.protocol: SASL_SSL
  sasl.mechanism: {MECHANISM}
  sasl.username: {USER}
  sasl.password_file: kafka-password
  ssl.ca.location: {stack.authority}
postgres:
{lines_of(stack.postgres)}
  password: ${{STAGING_PASSWORD}}
{hooks}"""


def lines_of(section):
    return "\n".join(f"  {name}: {value}" for name, value in section.items())


class Room:
    """The control room as a user calls it, with a configuration and a state folder of its own."""

    def __init__(self, stack, state):
        self.stack, self.state = stack, state
        self.config = stack.folder / "staging.yaml"
        self.write(yaml_of(stack))

    def write(self, text):
        self.config.write_text(text)

    @property
    def command(self):
        return [sys.executable, "-m", "control_room.cli", "--external", str(self.config)]

    @property
    def environ(self):
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env |= {"STAGING_SECRET": SECRET, "STAGING_PASSWORD": PASSWORD}
        return {**env, "BRUCE_STATE": str(self.state), "XDG_CONFIG_HOME": str(self.state.with_name("settings"))}

    def start(self, *words, **secrets):
        env, command = {**self.environ, **secrets}, [*self.command, *words]
        return subprocess.Popen(command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ended(self, running, code=0):
        """What it printed, once it has ended with `code`; no secret is in it."""
        out, err = running.communicate(timeout=120)
        assert running.returncode == code, out + err
        assert PASSWORD not in out + err
        assert SECRET not in out + err
        return out, err

    def run(self, *words, code=0, **secrets):
        return self.ended(self.start(*words, **secrets), code)

    def told(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code)[0])


@pytest.fixture
def room(secured, tmp_path):
    return Room(secured, tmp_path / "state")


def ready(told):
    return {each["name"]: each["ready"] for each in told["members"]["value"]}


def test_nobody_gets_into_that_stack_without_tls_or_with_another_password(secured):
    before = secured.postgres_door.refused
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(make_conninfo("", **{**secured.postgres, "sslmode": "disable", "password": PASSWORD}))
    assert secured.postgres_door.refused == before + 1
    with pytest.raises(psycopg.OperationalError, match=r"certificate verify failed|root certificate"):
        psycopg.connect(make_conninfo("", **{**secured.postgres, "sslrootcert": "system", "password": PASSWORD}))
    for change in ({"security.protocol": "PLAINTEXT"}, {"sasl.password": "another one"}):
        client = json.dumps({**secured.kafka_client, **change})
        settings = KafkaSettings(kafka_bootstrap_servers=secured.bootstrap, kafka_client=client)
        with pytest.raises(KafkaException):
            make_admin(settings, "tests").list_topics(timeout=3)


def test_payments_replayed_into_a_stack_elsewhere_are_watched_and_proven(room):
    told = room.told("status")
    assert told["runtime"] == "external"
    assert ready(told) == dict.fromkeys(("postgres", "kafka-1", *room.stack.members), True)
    kafka = told["kafka"]["value"]
    assert (kafka["topic_exists"], kafka["controller"], kafka["notes"]) == (True, 1, [])
    [member] = kafka["members"]
    assert member["name"].startswith("dispatcher.")

    room.run("replay", str(dataset.PAYMENTS), "--max", str(PAYMENTS), "--rate", "100")
    verdict = room.told("verify", "--deadline", "60")
    assert (verdict["verdict"], verdict["arithmetic"]["accepted"]) == ("proven", PAYMENTS)
    assert verdict["stores"]["compared"]
    folder = Path(verdict["folder"])
    assert (folder / "report.html").exists()
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept
    assert SECRET.encode() not in kept
    assert room.told("check", str(folder))["verdict"] == "proven"


def test_a_dispatcher_elsewhere_frozen_by_the_users_commands_loses_nothing(room):
    sending = room.start("replay", str(dataset.PAYMENTS), "--max", str(PAYMENTS), "--rate", "50", "--ids", "fresh")
    until(lambda: list(room.state.glob("runs/*/operations.jsonl")), what="the run's first line")
    [fault] = room.told("chaos", "freeze", "dispatcher", "--for", "2s")
    assert fault["ok"]
    room.ended(sending)
    verdict = room.told("verify", "--deadline", "60")
    assert (verdict["verdict"], verdict["arithmetic"]["accepted"]) == ("proven", PAYMENTS)
    assert [(each["name"], each["target"]) for each in verdict["faults"]] == [("freeze", "dispatcher")]


def test_without_commands_faults_are_off_and_members_are_not_the_rooms_to_stop(room):
    room.write(yaml_of(room.stack, hooks=""))
    faults = room.told("chaos", "list")["faults"]
    assert all("the stack runs elsewhere" in fault["unavailable"] for fault in faults.values())
    assert "hooks.kill" in room.run("chaos", "kill", "dispatcher", code=1)[1]
    assert "does not own them" in room.run("down")[1]
    assert "the demo is not available here: kill" in room.run("demo", code=1)[1]
    assert "everything there answers" in room.run("up")[1]
    assert all(ready(room.told("status")).values())


def test_without_a_ledger_the_drain_ends_and_the_verdict_is_unknown(room):
    members = {name: url for name, url in room.stack.members.items() if name != "merchant-server"}
    room.write(yaml_of(room.stack, members=members))
    said = room.run("replay", str(dataset.PAYMENTS), "--max", "50", "--ids", "fresh")[1]
    assert "no merchant's ledger is configured: the verdict on this run will be UNKNOWN" in said
    verdict = room.told("verify", "--deadline", "60", code=12)
    assert verdict["verdict"] == "unknown"
    assert verdict["reasons"] == ["ledger.jsonl is missing."]
    drain = json.loads((Path(verdict["folder"]) / "drain.json").read_bytes())
    assert (drain["ended"], drain["arithmetic"]["delivered"]) == ("complete", 50)


def test_what_keeps_the_room_out_is_told_by_the_member_that_does(room):
    room.write(yaml_of(room.stack).replace("sasl.password_file: kafka-password", "sasl.password: wrong-one-4711"))
    out, _ = room.run("status", "--json", code=3, STAGING_PASSWORD="wrong-one-4711")
    reasons = {each["name"]: each["reason"] for each in json.loads(out)["members"]["value"]}
    assert "password authentication failed" in reasons["postgres"]
    assert "SASL authentication error" in reasons["kafka-1"]
    assert "wrong-one-4711" not in out
    assert reasons["dispatcher"] == ""


def test_the_room_itself_shows_a_stack_elsewhere_and_stops_no_member_of_it(room):
    room.write(yaml_of(room.stack, hooks=""))
    with Terminal(room.command, ROOT, room.environ, 120, 34) as terminal:
        terminal.wait_for("6/6 up", within_s=60)
        terminal.wait_for("kafka-1", "running")
        terminal.press("s")
        terminal.wait_for("stop is not available here")
        terminal.press("3")
        terminal.wait_for("[3 Kafka]")
        terminal.wait_for("dispatcher.")
        assert PASSWORD not in terminal.text()
    assert all(ready(room.told("status")).values())
