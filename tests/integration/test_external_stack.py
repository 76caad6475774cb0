"""A stack that the control room did not start, behind SASL_SSL and TLS: watched, replayed into, judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import dataset
from tests.integration.fixtures_secured import MECHANISM, PASSWORD, SECRET, USER
from tests.integration.fixtures_stores import ROOT

pytest_plugins = ["tests.integration.fixtures_secured"]

PAYMENTS = 300


def yaml_of(stack, *, members=None, more=""):
    """The configuration as a user writes it, secrets in a file and in a variable."""
    (stack.folder / "kafka-password").write_text(f"{PASSWORD}\n")
    named = stack.members if members is None else members
    postgres = "\n".join(f"  {name}: {value}" for name, value in stack.postgres.items())
    return f"""
api: {stack.api}
secret: ${{STAGING_SECRET}}
members:
{chr(10).join(f"  {name}: {url}" for name, url in named.items())}
kafka:
  bootstrap.servers: {stack.bootstrap}
  security.protocol: SASL_SSL
  sasl.mechanism: {MECHANISM}
  sasl.username: {USER}
  sasl.password_file: kafka-password
  ssl.ca.location: {stack.authority}
postgres:
{postgres}
  password: ${{STAGING_PASSWORD}}
{more}"""


@pytest.fixture
def room(secured, tmp_path):
    """`room("status")` runs a verb against the stack and gives its end; secrets come from the environment."""
    config = secured.folder / "staging.yaml"
    config.write_text(yaml_of(secured))

    def run(*words, timeout_s=120):
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env |= {"STAGING_SECRET": SECRET, "STAGING_PASSWORD": PASSWORD}
        command = [sys.executable, "-m", "control_room.cli", "--external", str(config), *words]
        env |= {"BRUCE_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=timeout_s)
        assert PASSWORD not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done

    run.config = config
    return run


def test_nobody_gets_into_that_stack_without_tls(secured):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(make_conninfo("", **{**secured.postgres, "sslmode": "disable", "password": PASSWORD}))
    assert secured.postgres_door.refused == 1


def test_payments_replayed_into_a_stack_elsewhere_are_watched_and_proven(room, tmp_path):
    seen = room("status", "--json")
    assert seen.returncode == 0, seen.stderr
    told = json.loads(seen.stdout)
    assert told["runtime"] == "external"
    members = {each["name"]: each["ready"] for each in told["members"]["value"]}
    assert members == dict.fromkeys(
        ("postgres", "kafka-1", "ingestion-api-1", "outbox-publisher", "merchant-server", "dispatcher"), True
    )
    assert told["kafka"]["value"]["topic_exists"]

    sent = room("replay", str(dataset.PAYMENTS), "--max", str(PAYMENTS), "--rate", "100", "--json")
    assert sent.returncode == 0, sent.stderr
    judged = room("verify", "--json", "--deadline", "60")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    verdict = json.loads(judged.stdout)
    assert (verdict["outcome"], verdict["arithmetic"]["accepted"]) == ("proven", PAYMENTS)
    folder = Path(verdict["folder"])
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept
    assert SECRET.encode() not in kept
