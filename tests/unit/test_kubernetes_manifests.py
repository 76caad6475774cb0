"""What the manifests say of the services must be what the services' code says, and the parts must fit each other."""

import re
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from services.common.settings import load
from services.common.signing import Secrets
from services.dispatcher import status as dispatcher_status
from services.dispatcher.service import _NOTHING
from services.dispatcher.settings import DispatcherSettings
from services.ingestion_api.app import make_app
from services.ingestion_api.settings import ApiSettings
from services.merchant_server.settings import MerchantSettings
from services.outbox_publisher.health import serve as serve_publisher
from services.outbox_publisher.settings import PublisherSettings
from tests.asgi_client import AsgiClient
from tests.unit.manifests import FOLDER, OVERLAYS, WORKLOADS, Installation, documents
from tests.unit.member_processes import free_port
from tests.unit.merchant_app import merchant

SERVICES = {
    "ingestion-api": (ApiSettings, "api_port"),
    "outbox-publisher": (PublisherSettings, "metrics_port"),
    "dispatcher": (DispatcherSettings, "metrics_port"),
    "merchant-server": (MerchantSettings, "merchant_port"),
}
KEPT_IN = {"hmac": "bruce-hmac", "postgres": "bruce-postgres", "kafka": "bruce-kafka"}
"""The folder below /run/secrets, and whose keys are the files in it."""
PIPELINE = {"ingestion-api", "outbox-publisher", "dispatcher"}
PATHS = ("/healthz", "/readyz", "/status", "/metrics")
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=OVERLAYS)
def installation(request):
    return Installation(request.param)


def secrets():
    return {each["metadata"]["name"]: each for each in documents(FOLDER / "secrets.example.yaml")}


def files_of(environment):
    return {name: path for name, path in environment.items() if path.startswith("/run/secrets/")}


def test_each_service_is_there_and_the_merchant_only_where_it_is_tried(installation):
    merchant = {"merchant-server"} if installation.overlay == "trial" else set()
    assert set(installation.pods) == PIPELINE | merchant
    for name in installation.pods:
        assert installation.container(name)["args"] == [f"services.{name.replace('-', '_')}"]


def test_each_service_starts_with_the_settings_it_is_given(installation, monkeypatch, tmp_path):
    for name in installation.pods:
        kind, _ = SERVICES[name]
        with monkeypatch.context() as patch:
            for field in kind.model_fields:
                patch.delenv(field.upper(), raising=False)
            for variable, value in installation.environment(name).items():
                if value.startswith("/run/secrets/"):
                    file = tmp_path / variable
                    file.write_text(SECRET)
                    value = str(file)
                patch.setenv(variable, "dispatcher-0" if value == "metadata.name" else value)
            found = load(kind)
        assert found.member_name == "dispatcher-0"
        assert found.listen_host == "0.0.0.0"
        if name != "merchant-server":
            assert found.security["security.protocol"] == "SASL_SSL"
            assert found.security["sasl.password"] == SECRET
            assert f"password={SECRET} " in f"{found.conninfo} "
            assert "sslmode=verify-full" in found.conninfo


def test_every_setting_is_one_of_some_service(installation):
    known = {field.upper() for kind, _ in SERVICES.values() for field in kind.model_fields}
    secret = {f"{field}_FILE" for field in known if field.endswith(("SECRET", "PASSWORD"))}
    for name in installation.pods:
        assert set(installation.environment(name)) <= known | secret
        own = {entry["name"] for entry in installation.container(name)["env"]}
        assert own <= {field.upper() for field in SERVICES[name][0].model_fields}


def test_every_file_that_a_service_reads_is_mounted_from_a_secret_that_has_it(installation):
    for name, pod in installation.pods.items():
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        mounts = {each["mountPath"]: each for each in installation.container(name)["volumeMounts"]}
        fields = {field.upper() for field in SERVICES[name][0].model_fields}
        wanted = set()
        for variable, path in files_of(installation.environment(name)).items():
            if variable.removesuffix("_FILE") not in fields:
                continue
            folder, key = path.rsplit("/", 1)
            wanted.add(folder)
            secret = volumes[mounts[folder]["name"]]["secret"]["secretName"]
            assert secret == KEPT_IN[folder.rsplit("/", 1)[1]]
            assert key in secrets()[secret]["stringData"]
            assert mounts[folder]["readOnly"]
        assert wanted == {path for path in mounts if path.startswith("/run/secrets/")}, (
            "no secret that it does not read"
        )


def test_the_example_of_secrets_has_no_values_and_all_keys(installation):
    assert all(value == "" for each in secrets().values() for value in each["stringData"].values())
    assert not installation.of("Secret")
    for name in installation.pods:
        for entry in installation.container(name)["env"]:
            if source := entry.get("valueFrom", {}).get("secretKeyRef"):
                assert source["key"] in secrets()[source["name"]]["stringData"]
    for each in installation.of("TriggerAuthentication").values():
        for source in each["spec"]["secretTargetRef"]:
            assert source["key"] in secrets()[source["name"]]["stringData"]


def test_ports_are_those_that_the_services_listen_on(installation):
    for name in installation.pods:
        kind, field = SERVICES[name]
        (port,) = installation.container(name)["ports"]
        assert field.upper() not in installation.environment(name)
        assert port["containerPort"] == kind.model_fields[field].default
        annotations = installation.pods[name]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(port["containerPort"])


async def answered(name, folder):
    """The paths of the real service that answer 200, of those that a probe could ask for."""
    if name == "ingestion-api":
        store = type("Store", (), {"check": lambda self: None})()
        client = AsgiClient(make_app("api", Secrets.parse(SECRET), store, lambda: False))
        return {path for path in PATHS if client.get(path).status_code == 200}
    if name == "merchant-server":
        async with merchant(folder / "ledger.jsonl") as served:
            return {path for path in PATHS if (await served.get(path)).status == 200}
    port = free_port()
    if name == "outbox-publisher":
        serve_publisher("127.0.0.1", port, lambda: True)
        return await asked(port)
    runner = await dispatcher_status.serve("127.0.0.1", port, lambda: dict(_NOTHING))
    try:
        return await asked(port)
    finally:
        await runner.cleanup()


async def asked(port):
    found = set()
    async with ClientSession() as session:
        for path in PATHS:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                found |= {path} if answer.status == 200 else set()
    return found


@pytest.mark.parametrize("name", SERVICES)
async def test_probes_ask_for_what_the_service_answers(name, tmp_path):
    container = Installation("trial").container(name)
    good = await answered(name, tmp_path)
    asked_for = {key: each["httpGet"] for key, each in container.items() if key.endswith("Probe")}
    assert {"livenessProbe", "readinessProbe"} <= set(asked_for)
    (port,) = container["ports"]
    assert {probe["path"] for probe in asked_for.values()} <= good
    assert {probe["port"] for probe in asked_for.values()} == {port["name"]}
    assert "/metrics" in good, "that is what the annotations have scraped"


def test_pods_have_no_more_rights_than_they_need(installation):
    user = int(re.search(r"--uid (\d+)", (FOLDER.parents[1] / "compose" / "Dockerfile").read_text()).group(1))
    for name, template in installation.pods.items():
        pod, container = template["spec"], installation.container(name)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "a Service's name must not set a setting"
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_what_drains_is_given_the_time_for_it(installation):
    grace_s = float(installation.settings["SHUTDOWN_GRACE_SEC"])
    for name, template in installation.pods.items():
        before_s = (
            installation.container(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        )
        assert template["spec"]["terminationGracePeriodSeconds"] >= before_s + grace_s + 5


def test_selectors_and_targets_find_what_they_are_for(installation):
    for name, workload in installation.of(*WORKLOADS).items():
        assert installation.selected(workload["spec"]["selector"]) == {name}
        for spread in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert installation.selected(spread["labelSelector"]) == {name}
        if workload["kind"] == "StatefulSet":
            assert workload["spec"]["serviceName"] in installation.of("Service")
    for name, service in installation.of("Service").items():
        assert installation.selected({"matchLabels": service["spec"]["selector"]}) == {name}
        named = {port["name"] for port in installation.container(name)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == named
    for each in installation.of("Ingress").values():
        for rule in each["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                wanted = path["backend"]["service"]
                ports = installation.of("Service")[wanted["name"]]["spec"]["ports"]
                assert wanted["port"]["name"] in {port["name"] for port in ports}


def test_of_each_member_of_the_pipeline_one_may_be_away_at_a_time(installation):
    budgets = installation.of("PodDisruptionBudget")
    assert set(budgets) == PIPELINE
    for name, budget in budgets.items():
        assert installation.selected(budget["spec"]["selector"]) == {name}
        assert budget["spec"]["maxUnavailable"] == 1


def test_what_is_scaled_has_no_fixed_number(installation):
    scalers = installation.of("HorizontalPodAutoscaler", "ScaledObject")
    assert set(scalers) == {"ingestion-api", "dispatcher"}
    for each in scalers.values():
        target = each["spec"]["scaleTargetRef"]
        found = installation.of(target["kind"])[target["name"]]
        assert found["apiVersion"] == target["apiVersion"]
        assert "replicas" not in found["spec"]


def test_the_scaler_watches_what_the_dispatchers_read_and_starts_no_more_than_can_work(installation):
    (scaler,) = installation.of("ScaledObject").values()
    given, settings = scaler["spec"], installation.settings
    assert given["minReplicaCount"] <= given["maxReplicaCount"] == int(settings["KAFKA_TOPIC_PARTITIONS"])
    (trigger,) = given["triggers"]
    watched = trigger["metadata"]
    assert watched["bootstrapServers"] == settings["KAFKA_BOOTSTRAP_SERVERS"]
    assert watched["topic"] == settings["KAFKA_TOPIC"]
    assert watched["consumerGroup"] == settings["KAFKA_GROUP_ID"]
    assert watched["allowIdleConsumers"] == "false"
    assert watched["sasl"].replace("_", "").upper() == settings["KAFKA_SASL_MECHANISM"].replace("-", "")
    assert watched["tls"] == "enable"
    assert trigger["authenticationRef"]["name"] in installation.of("TriggerAuthentication")


def allowed(installation, direction):
    """(workload, port) of every rule of the NetworkPolicies; `direction` is ingress or egress."""
    found = set()
    for policy in installation.of("NetworkPolicy").values():
        rules = policy["spec"].get(direction, [])
        assert not rules or direction.capitalize() in policy["spec"]["policyTypes"]
        for rule in rules:
            assert rule["from" if direction == "ingress" else "to"], "a rule for everybody is none"
            ports = {port["port"] for port in rule["ports"]}
            found |= {(name, port) for name in installation.selected(policy["spec"]["podSelector"]) for port in ports}
    return found


def test_nobody_speaks_to_anybody_unless_it_is_said(installation):
    spec = installation.of("NetworkPolicy")["default-deny"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_each_service_reaches_what_it_is_told_of_and_nothing_else(installation):
    settings = installation.settings
    kafka = {int(broker.rsplit(":", 1)[1]) for broker in settings["KAFKA_BOOTSTRAP_SERVERS"].split(",")}
    webhook = urlsplit(settings["WEBHOOK_URL"])
    merchant_port = webhook.port or {"https": 443, "http": 80}[webhook.scheme]
    wanted = {(name, 53) for name in installation.pods}
    wanted |= {(name, port) for name in PIPELINE for port in (int(settings["POSTGRES_PORT"]), *kafka)}
    wanted |= {("dispatcher", merchant_port)}
    assert allowed(installation, "egress") == wanted


def test_each_service_is_reached_on_its_own_port(installation):
    own = {(name, installation.container(name)["ports"][0]["containerPort"]) for name in installation.pods}
    ports = {port for _, port in own}
    rules = allowed(installation, "ingress")
    assert own <= rules
    assert {port for _, port in rules} == ports
    payments = installation.of("NetworkPolicy")["take-payments"]["spec"]
    assert installation.selected(payments["podSelector"]) == {"ingestion-api"}
