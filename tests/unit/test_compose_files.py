"""What the compose file, its example of settings and its image say must be what the code says."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from control_room.stack.docker import link_proxy
from control_room.stack.links.names import DOORS, KAFKA_CLIENTS
from control_room.stack.local.environment import PASSED_ON
from control_room.stack.runtime import API_REPLICAS, BROKERS
from scripts.env_example import COMPOSE, EXAMPLE, ROOT, example, passed_on
from scripts.settings_page import SECTIONS, documented
from services.common import identity, settings
from services.common.signing import Secrets
from services.merchant_server.settings import MerchantSettings

THEIR_PACKAGE = {"confluent_kafka": "confluent-kafka", "prometheus_client": "prometheus-client"}
THEIR_PACKAGE |= {"pydantic_settings": "pydantic-settings", "psycopg": "psycopg[binary]"}
WITH_ANOTHER = {"yarl": "aiohttp", "werkzeug": "flask"}
"""Packages that another one brings along, being made for it."""


def test_the_example_of_settings_is_made_from_the_code():
    assert EXAMPLE.read_text(encoding="utf-8") == example(), "make it anew: python -m scripts.env_example"


def test_every_setting_that_a_local_stack_passes_on_can_be_set_in_env_and_is_documented():
    assert set(passed_on()) - {"KAFKA_TOPIC"} == set(PASSED_ON)
    assert set(passed_on()) <= {one.variable for _, kind in SECTIONS for one in documented(kind)}
    assert all(f"#{name}=" in example() for name in passed_on())


def test_the_image_has_exactly_what_the_services_import():
    imported = set()
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            imported |= {name.split(".")[0] for name in names}
    imported -= {*sys.stdlib_module_names, "services"}
    wanted = {THEIR_PACKAGE.get(name, name) for name in imported if name not in WITH_ANOTHER}
    lines = (ROOT / "compose" / "services.txt").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == wanted
    assert set(WITH_ANOTHER) <= imported


def test_everything_is_published_on_loopback_alone():
    members = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    ports = [port for member in members.values() for port in member.get("ports", ())]
    assert len(ports) == 10
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_whoever_is_told_of_a_folder_for_crash_points_has_it():
    members = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    told = {name: one for name, one in members.items() if "CRASH_POINTS" in one.get("environment", ())}
    assert set(told) == {"merchant-server", "ingestion-api", "outbox-publisher", "dispatcher"}
    for name, member in told.items():
        assert any(volume.endswith(":/run/bruce/crash") for volume in member["volumes"]), name


def test_containers_have_no_more_rights_than_they_need():
    members = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    for name, member in members.items():
        assert member["cap_drop"] == ["ALL"], name
        assert member["security_opt"] == ["no-new-privileges:true"], name
        assert member["mem_limit"], name
        assert member["logging"]["options"]["max-file"], name
        assert member["healthcheck"]["test"], name
    assert [name for name, member in members.items() if member.get("cap_add")] == ["postgres"]


def test_every_door_of_a_link_is_dialled_by_its_client_and_by_nobody_else():
    members = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    plan = json.loads(members["links"]["command"][1])
    doors = plan["doors"]
    assert plan["port"] == link_proxy.CONTROL_PORT
    assert {name: where["port"] for name, where in doors.items()} == {
        name: link_proxy.CONTROL_PORT + number for number, name in enumerate(DOORS, 1)
    }
    led = yaml.safe_load(COMPOSE.with_name("compose.links.yaml").read_text(encoding="utf-8"))["services"]
    for client in KAFKA_CLIENTS:
        told = led[client]["environment"]
        assert told["POSTGRES_PORT"] == doors[f"{client}:postgres"]["port"]
        brokers = [doors[f"{client}:{broker}"] for broker in BROKERS]
        assert told["KAFKA_BOOTSTRAP_SERVERS"] == ",".join(f"links:{where['port']}" for where in brokers)
        listener = f"LINK_{client.replace('-', '_').upper()}"
        for broker, where in zip(BROKERS, brokers, strict=True):
            of_broker = led[broker]["environment"]
            inside = where["to"].removeprefix(f"{broker}:")
            assert f",{listener}://:{inside}," in of_broker["KAFKA_LISTENERS"]
            assert f",{listener}://links:{where['port']}," in of_broker["KAFKA_ADVERTISED_LISTENERS"]
            assert f",{listener}:PLAINTEXT," in of_broker["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
    assert link_proxy.leads_to_merchant("http://links:18213/webhook_listener")
    assert "http://links:18213/webhook_listener" in led["dispatcher"]["environment"]["WEBHOOK_URL"]
    nginx = (COMPOSE.parent / "nginx" / "nginx.links.conf").read_text(encoding="utf-8")
    dialled = [int(port) for port in re.findall(r"server links:(\d+) ", nginx)]
    assert dialled == [doors[f"nginx:{replica}"]["port"] for replica in API_REPLICAS]


@pytest.mark.parametrize(
    ("service", "container", "name"),
    [
        ("ingestion-api", "shop-ingestion-api-1", "ingestion-api-1"),
        ("ingestion-api", "shop-ingestion-api-12", "ingestion-api-12"),
        ("dispatcher", "shop-dispatcher-1", "dispatcher"),
        ("dispatcher", "shop-dispatcher-3", "dispatcher-3"),
        ("dispatcher", "somewhere.else", "dispatcher-0123abc"),
        ("", "shop-dispatcher-3", "0123abc"),
    ],
)
def test_a_replica_goes_by_its_service_and_its_containers_number(monkeypatch, service, container, name):
    addresses = {"0123abc": "172.18.0.9", f"shop-{service}-1": "172.18.0.7", container: "172.18.0.9"}

    def look_up(host):
        if host not in addresses:
            raise OSError("no such name")
        return addresses[host]

    monkeypatch.setenv(identity.SETTING, service)
    monkeypatch.setenv(identity.PROJECT, "shop")
    monkeypatch.setattr(identity.socket, "gethostname", lambda: "0123abc")
    monkeypatch.setattr(identity.socket, "gethostbyname", look_up)
    assert identity.own_name() == name


def read_settings(**environ):
    program = (
        "from services.common.settings import load; from services.merchant_server.settings import MerchantSettings;"
    )
    program += "print(load(MerchantSettings).hmac_secret.get_secret_value())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_a_secret_may_stand_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("a-secret-that-is-long-enough-to-sign\n")
    assert read_settings(HMAC_SECRET_FILE=str(file), HMAC_SECRET="")[:2] == (0, "a-secret-that-is-long-enough-to-sign")


def test_a_secret_twice_or_in_a_file_that_is_not_there_stops_the_start(tmp_path):
    file = tmp_path / "secret"
    code, _, said = read_settings(HMAC_SECRET_FILE=str(file))
    assert code == 2
    assert re.fullmatch(r"HMAC_SECRET_FILE: .* cannot be read: No such file or directory", said)
    file.write_text("a-secret-that-is-long-enough-to-sign")
    code, _, said = read_settings(HMAC_SECRET_FILE=str(file), HMAC_SECRET="another-one-that-is-long-enough")
    assert code == 2
    assert said == "HMAC_SECRET_FILE: HMAC_SECRET is set too; set one of the two"


def test_only_secrets_are_read_from_files():
    assert settings._from_files(MerchantSettings) == {}


def test_the_image_takes_the_versions_that_the_tests_run_with():
    def pins(path):
        return {line for line in path.read_text().splitlines() if line and not line.startswith("#")}

    ours, image = pins(ROOT / "constraints.txt"), pins(ROOT / "compose" / "constraints.txt")
    assert image < ours, "make them anew: make lock"
    wanted = {line.partition("[")[0] for line in pins(ROOT / "compose" / "services.txt")}
    assert wanted <= {line.partition("==")[0] for line in image}


def test_the_example_copied_as_it_is_has_secrets_that_the_services_take():
    given = dict(line.split("=", 1) for line in example().splitlines() if line and not line.startswith("#"))
    assert Secrets.parse(given["HMAC_SECRET"])
    assert given["POSTGRES_PASSWORD"]
