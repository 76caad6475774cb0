"""The configuration of a stack that runs elsewhere: what is wrong is named, secrets never are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from control_room.exit_codes import USAGE
from control_room.stack.external import ExternalRuntime
from control_room.stack.external.config import ExternalConfig
from control_room.stack.external.reading import read_config
from control_room.stack.runtime import StackError, StackSettingsError
from control_room.stack.select import open_runtime, resolve_state_dir
from services.common.settings import KafkaSettings, client_properties

HUSH = "never-to-be-printed-4711"
GOOD = """
api: https://bruce.example.com/
secret: ${SIGNING}
kafka:
  bootstrap.servers: broker-1.example.com:9093,broker-2.example.com:9093
  security.protocol: SASL_SSL
  sasl.mechanism: SCRAM-SHA-512
  sasl.username: bruce
  sasl.password_file: kafka-password
  enable.ssl.certificate.verification: true
postgres:
  host: db.example.com
  dbname: bruce
  user: bruce
  password: ${DB_PASSWORD}
  sslmode: verify-full
members:
  ingestion-api-1: http://10.0.0.1:8000
  dispatcher-1: http://10.0.0.2:9102
  dispatcher-2: http://10.0.0.3:9102
  merchant-server: http://10.0.0.4:5001
"""
ENVIRON = {"SIGNING": "a-secret-that-is-long-enough-to-sign", "DB_PASSWORD": HUSH}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "kafka-password").write_text(f"{HUSH}\n")

    def written(text):
        path = tmp_path / "staging.yaml"
        path.write_text(text)
        return path

    return written


def refused(path, environ=None):
    with pytest.raises(StackSettingsError) as caught:
        read_config(path, ENVIRON if environ is None else environ)
    assert HUSH not in str(caught.value)
    return str(caught.value).replace(f"{path}: ", "").splitlines()


def runtime_at(path, state, **environ):
    return open_runtime(None, state, {**ENVIRON, "BRUCE_EXTERNAL": str(path), **environ})


def test_secrets_come_from_files_and_variables_and_reach_kafka_and_postgres(write, tmp_path):
    ends = runtime_at(write(GOOD), tmp_path / "state").endpoints()
    assert ends.kafka_client["sasl.password"] == HUSH
    assert ends.kafka_client["enable.ssl.certificate.verification"] == "true"
    assert "bootstrap.servers" not in ends.kafka_client
    assert json.loads(ends.kafka_settings().kafka_client.get_secret_value()) == ends.kafka_client
    assert ends.kafka_settings().kafka_bootstrap_servers.startswith("broker-1.example.com:9093,")
    postgres = conninfo_to_dict(ends.postgres_conninfo)
    assert (postgres["password"], postgres["sslmode"]) == (HUSH, "verify-full")
    assert ends.api_url == "https://bruce.example.com"
    assert ends.merchant_url == "http://10.0.0.4:5001"
    assert ends.dispatcher_status_url == "http://10.0.0.2:9102/status"


def test_a_whole_conninfo_may_be_given_too(write):
    whole = GOOD.replace("  host: db.example.com", "  conninfo: postgresql://db.example.com/other?sslmode=disable")
    found = conninfo_to_dict(read_config(write(whole), ENVIRON).conninfo)
    assert (found["host"], found["dbname"], found["sslmode"]) == ("db.example.com", "bruce", "verify-full")


def test_nothing_that_can_be_printed_of_it_shows_a_secret(write, tmp_path):
    runtime = runtime_at(write(GOOD), tmp_path / "state")
    assert HUSH not in repr(runtime.config)
    assert HUSH not in repr(runtime.endpoints())
    assert ENVIRON["SIGNING"] not in repr(runtime.config)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("api: https", "apis: https", "apis: there is no such setting; there are api, secret, kafka, postgres"),
        ("api: https://bruce.example.com/\n", "", "api: must be set"),
        ("api: https://", "api: ", "api: must be an address such as https://"),
        ("9093,broker-2", "9093, broker-2", "kafka.bootstrap.servers: must be host:port of each broker"),
        ("SASL_SSL", "TLS", "kafka.security.protocol: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("sasl.username: bruce", "group.id: mine", "kafka.group.id: group.id is not for a user to set; allowed are"),
        ("sasl.username: bruce", "sasl.user: bruce", 'kafka: No such configuration property: "sasl.user"'),
        ("SCRAM-SHA-512", "SCRAM", "kafka: "),
        ("sasl.username: bruce", "sasl.username: [bruce]", "kafka.sasl.username: must be a text, a number, true or"),
        ("sasl.password_file: kafka-p", "sasl.password_file: p", "kafka.sasl.password_file: password cannot be read"),
        ("  sslmode: v", "  ssl_mode: v", "postgres.ssl_mode: not for a user to set; there are conninfo, "),
        ("verify-full", "full", "postgres.sslmode: must be one of disable, allow, prefer, require, verify-ca"),
        ("dispatcher-1", "courier", "members.courier: must be one of ingestion-api, nginx, outbox-publisher"),
        ("http://10.0.0.2:9102", "10.0.0.2:9102", "members.dispatcher-1: must be an address such as https://"),
        ("${DB_PASSWORD}", "${DB_PASSWROD}", "postgres.password: the environment variable DB_PASSWROD is not set"),
        ("secret: ${SIGNING}", "secret: changeme-changeme-1", "secret: HMAC_SECRET holds a placeholder"),
        ("members:", "hooks: {explode: {}}\nmembers:", "hooks.explode: must be one of kill, crash, stop, start"),
        ("members:", "hooks: {kill: {apply: 'true'}}\nmembers:", "hooks.kill.heal: must be set"),
        (
            "members:",
            "hooks: {kill: {apply: no-such-program-4711, heal: 'true', evidence: 'true'}}\nmembers:",
            "hooks.kill.apply: there is no program no-such-program-4711",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_setting_with_what_is_allowed(write, old, new, sentence):
    assert old in GOOD
    assert any(line.startswith(sentence) for line in refused(write(GOOD.replace(old, new, 1))))


def test_all_that_is_wrong_is_told_at_once(write):
    wrong = GOOD.replace("https://bruce", "bruce", 1).replace("dispatcher-1", "courier")
    assert len(refused(write(wrong), {"SIGNING": ENVIRON["SIGNING"]})) == 3


def test_a_value_twice_is_refused(write):
    twice = GOOD.replace("sasl.username: bruce", f"sasl.username: bruce\n  sasl.password: {HUSH}")
    assert refused(write(twice)) == ["kafka.sasl.password_file: kafka.sasl.password is set too; set one of the two"]


def test_a_file_that_is_no_configuration_is_refused(write, tmp_path):
    assert "cannot be read: No such file" in refused(tmp_path / "none.yaml")[0]
    assert refused(write("api: [\n"))[0].endswith("is not YAML in line 2")
    assert "must have settings" in refused(write("just words"))[0]


def test_the_runtime_is_chosen_by_its_configuration_and_no_other_beside_it(write, tmp_path):
    path = write(GOOD)
    assert isinstance(runtime_at(path, tmp_path / "state"), ExternalRuntime)
    with pytest.raises(StackSettingsError, match="asks for local"):
        open_runtime("local", tmp_path / "state", {"BRUCE_EXTERNAL": str(path)})
    with pytest.raises(StackSettingsError, match="--external FILE"):
        open_runtime("external", tmp_path / "state", {})
    assert resolve_state_dir(None, {"BRUCE_EXTERNAL": str(path)}).name == ".bruce-staging"
    with pytest.raises(StackSettingsError, match="--replace is for a stack that the control room starts itself"):
        open_runtime(None, tmp_path, {**ENVIRON, "BRUCE_EXTERNAL": str(path)}, member_commands={"nginx": ["true"]})


def test_the_state_folder_of_another_stack_is_refused(write, tmp_path):
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(StackSettingsError, match="give this one its own: --state"):
        runtime_at(write(GOOD), tmp_path)


def test_members_that_are_not_the_control_rooms_are_neither_started_nor_stopped(write, tmp_path):
    runtime = runtime_at(write(GOOD), tmp_path / "state")
    for verb in (runtime.start, runtime.stop, runtime.kill, runtime.crash, runtime.freeze, runtime.thaw):
        with pytest.raises(StackError, match=r"cannot .* dispatcher: .* does not own them"):
            verb(["dispatcher"])
    with pytest.raises(StackError, match="no data is deleted"):
        runtime.down(print, volumes=True)
    said = []
    runtime.down(said.append)
    assert said == [
        "nothing is taken down: the members are not this control room's to stop: the external runtime does not own them"
    ]


def test_without_a_secret_nothing_can_be_sent_and_the_rest_goes_on(write, tmp_path):
    runtime = runtime_at(write(GOOD.replace("secret: ${SIGNING}\n", "")), tmp_path / "state")
    with pytest.raises(StackSettingsError, match="has no `secret` or `secret_file`"):
        runtime.secret()
    assert runtime.endpoints().api_url


def test_the_documented_example_is_a_configuration(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "external.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "hmac").write_text(ENVIRON["SIGNING"])
    (tmp_path / "db-password").write_text(HUSH)
    for there in ("kubectl", "is-gone.sh"):
        (tmp_path / there).write_text("#!/bin/sh\n")
        (tmp_path / there).chmod(0o755)
    path = tmp_path / "staging.yaml"
    path.write_text(example.replace("/run/secrets/hmac", "hmac").replace(": kubectl", ": ./kubectl"))
    config = read_config(path, {"KAFKA_PASSWORD": HUSH})
    assert config.broker_ids == [1, 2, 3]
    assert conninfo_to_dict(config.conninfo)["password"] == HUSH
    settings = set(ExternalConfig.model_fields) - {"secret"}
    assert all(f"`{name}`" in page for name in settings), "every setting is explained"


@pytest.mark.parametrize("text", ["security.protocol=SSL", "[]", '{"ssl.ca.location": 1}', '{"acks": "0"}'])
def test_a_services_kafka_properties_that_say_anything_else_are_refused(text):
    with pytest.raises(ValueError, match=r"must be a JSON object of texts|acks is not for a user to set"):
        client_properties(text)
    with pytest.raises(ValueError, match=r"KAFKA_CLIENT|kafka_client"):
        KafkaSettings(kafka_client=text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--external", "none.yaml", "status"], "none.yaml cannot be read: No such file or directory"),
        (["--external", "none.yaml", "replay", "--runtime", "local"], "names a stack elsewhere"),
        (["--runtime", "external", "status"], "say where the stack is: --external FILE, or BRUCE_EXTERNAL=FILE"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_wrong_call_in_any_verb(tmp_path, words, sentence):
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "control_room.cli", *words]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == USAGE, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
