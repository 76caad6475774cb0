import configparser
import json
import os
import re
import shlex
import shutil
import socket
import stat
from types import SimpleNamespace

import pytest

from control_room.stack.local import (
    environment,
    jars,
    java,
    kafka,
    link_proxy,
    nginx,
    plan,
    ports,
    record,
    supervision,
    templates,
    views,
)
from control_room.stack.local.layout import Layout
from control_room.stack.local.record import StackRecord
from control_room.stack.runtime import BROKERS, MEMBERS, NotRunningError, StackError, State
from control_room.stack.select import choose, open_runtime, resolve_state_dir

PORTS = {name: 1000 + n for n, name in enumerate(name for group in ports.GROUPS for name in group.names)}
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "state")
    made.prepare()
    return made


def test_the_state_folder_is_the_options_then_the_variables_then_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_state_dir("/x", {"BRUCE_STATE": "/y"}).as_posix() == "/x"
    assert resolve_state_dir(None, {"BRUCE_STATE": "/y"}).as_posix() == "/y"
    assert resolve_state_dir(None, {}) == tmp_path / ".bruce"


def test_a_runtime_that_is_not_there_is_a_sentence_with_those_there_are(tmp_path):
    with pytest.raises(StackError, match="no runtime 'k8s'; there are local, docker, external"):
        open_runtime("k8s", tmp_path)
    with pytest.raises(StackError, match="no runtime 'k8s'"):
        open_runtime(None, tmp_path, {"BRUCE_RUNTIME": "k8s"})


def test_the_runtime_is_the_one_asked_for_else_the_one_that_has_a_stack_there(tmp_path):
    nowhere = {"DOCKER_HOST": "tcp://127.0.0.1:9"}
    assert choose("docker", tmp_path, {"BRUCE_RUNTIME": "local"}) == ("docker", "asked for")
    assert choose(None, tmp_path, {"BRUCE_RUNTIME": "docker"}) == ("docker", "BRUCE_RUNTIME asks for it")
    name, why = choose(None, tmp_path, nowhere)
    assert name == "local"
    assert why
    (tmp_path / "docker.json").touch()
    assert choose(None, tmp_path, nowhere)[0] == "docker"
    (tmp_path / "stack.json").touch()
    assert choose(None, tmp_path, nowhere)[0] == "local"


def test_a_stack_that_was_never_started_is_stopped_and_answers_nowhere(tmp_path):
    runtime = open_runtime("local", tmp_path / "none")
    assert [(one.name, one.state) for one in runtime.status()] == [(name, State.STOPPED) for name in MEMBERS]
    for ask in (runtime.endpoints, runtime.secret, lambda: runtime.crash(["nginx"]), lambda: runtime.start(["nginx"])):
        with pytest.raises(NotRunningError, match="bruce-control up"):
            ask()
    said = []
    runtime.down(said.append)
    assert said
    assert not (tmp_path / "none").exists()


def test_the_state_folder_is_the_owners_alone(layout):
    for folder in (layout.state, layout.secrets_dir, layout.run_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_long_state_folder_gets_a_short_private_socket(tmp_path):
    long = Layout(tmp_path / ("x" * 120))
    assert len(str(long.supervisor_socket)) < 90
    long.prepare()
    try:
        assert stat.S_IMODE(long.supervisor_socket.parent.stat().st_mode) == 0o700
        long.supervisor_socket.parent.chmod(0o755)
        with pytest.raises(StackError, match="belongs to somebody else"):
            long.prepare()
    finally:
        shutil.rmtree(long.supervisor_socket.parent)


def test_a_state_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="choose another with --state"):
        Layout(tmp_path / "file" / "state").prepare()


def test_a_secret_is_made_once_and_kept_for_the_owner(layout):
    made = record.hmac_secret(layout, {})
    assert len(made) == 64
    assert record.hmac_secret(layout, {}) == made
    assert stat.S_IMODE((layout.secrets_dir / "hmac_secret").stat().st_mode) == 0o600


def test_the_users_secret_is_used_kept_and_checked(layout):
    assert record.hmac_secret(layout, {"HMAC_SECRET": SECRET}) == SECRET
    assert record.kept_hmac_secret(layout) == SECRET
    with pytest.raises(StackError, match="placeholder"):
        record.hmac_secret(layout, {"HMAC_SECRET": "changeme-changeme"})


def test_another_postgres_password_than_the_datas_is_refused(layout):
    assert record.postgres_password(layout, {"POSTGRES_PASSWORD": "first"}, has_data=False) == "first"
    assert record.postgres_password(layout, {}, has_data=True) == "first"
    with pytest.raises(StackError, match="POSTGRES_PASSWORD is not the one"):
        record.postgres_password(layout, {"POSTGRES_PASSWORD": "second"}, has_data=True)


def test_a_record_comes_back_as_it_was_and_other_versions_are_refused(layout):
    kept = StackRecord(ports={"nginx": 8000}, cluster_id="abc", started=True)
    kept.save(layout)
    assert StackRecord.load(layout) == kept
    layout.record_file.write_text(json.dumps({"format": 99}))
    with pytest.raises(StackError, match="another version"):
        StackRecord.load(layout)


def test_an_unusable_topic_is_refused_with_its_variable():
    with pytest.raises(StackError, match="KAFKA_TOPIC"):
        views.kafka_settings(StackRecord(ports=PORTS, topic="no spaces allowed"))


def test_the_topic_gets_the_partitions_that_were_asked_for():
    def settings(**given):
        return views.kafka_settings(StackRecord(ports=PORTS, topic="t", settings=given))

    assert settings().kafka_topic_partitions == 3
    assert settings(KAFKA_TOPIC_PARTITIONS="12").kafka_topic_partitions == 12
    with pytest.raises(StackError, match="KAFKA_TOPIC_PARTITIONS"):
        settings(KAFKA_TOPIC_PARTITIONS="many")


def test_members_see_listed_variables_only_and_the_stacks_own_addresses_win():
    addresses = environment.Addresses(PORTS, "t", "db", "u", "pw", SECRET, "/ledger")
    mine = {"FAILURE_RATE": "0.1", "AWS_SECRET": "x", "METRICS_PORT": "1", "DATABASE_URL": "x", "POSTGRES_HOST": "far"}
    seen = environment.for_service("dispatcher", {"PATH": "/bin", **mine}, addresses)
    assert seen["FAILURE_RATE"] == "0.1"
    assert seen["METRICS_PORT"] == str(PORTS["dispatcher"])
    assert seen["POSTGRES_HOST"] == "127.0.0.1"
    assert not {"AWS_SECRET", "DATABASE_URL"} & seen.keys()
    assert seen["WEBHOOK_URL"] == f"http://127.0.0.1:{PORTS['merchant-server']}/webhook_listener"
    elsewhere = environment.for_service("dispatcher", {"WEBHOOK_URL": "http://x/"}, addresses)
    assert elsewhere["WEBHOOK_URL"] == "http://x/"


def test_every_setting_a_service_documents_can_be_given_to_up():
    from services.dispatcher.settings import DispatcherSettings
    from services.ingestion_api.settings import ApiSettings
    from services.merchant_server.settings import MerchantSettings
    from services.outbox_publisher.settings import PublisherSettings

    decided = {"MEMBER_NAME", "LISTEN_HOST", "METRICS_PORT", "API_PORT", "MERCHANT_PORT", "LEDGER_PATH", "HMAC_SECRET"}
    decided |= {"DATABASE_URL", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
    decided |= {"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLIENT", "KAFKA_TOPIC", "CRASH_POINTS"}
    decided |= {"KAFKA_REPLICATION_FACTOR", "KAFKA_MIN_INSYNC_REPLICAS"}
    of_somebody_else = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_", "POSTGRES_SSL")
    for settings in (ApiSettings, PublisherSettings, DispatcherSettings, MerchantSettings):
        documented = {name.upper() for name in settings.model_fields}
        # The stack's own Kafka and Postgres speak no TLS, and have no login.
        documented = {name for name in documented if not name.startswith(of_somebody_else)}
        assert documented - decided - set(environment.PASSED_ON) == set()


def test_services_have_crash_points_only_where_the_user_asked_for_them(layout):
    assert not environment.crash_points({})
    assert not environment.crash_points({"CRASH_POINTS": "0"})
    assert environment.crash_points({"CRASH_POINTS": "1"})
    with pytest.raises(StackError, match="CRASH_POINTS must be 1"):
        environment.crash_points({"CRASH_POINTS": "/tmp/somewhere"})
    without = environment.Addresses(PORTS, "t", "db", "u", "pw", SECRET, "/ledger")
    assert "CRASH_POINTS" not in environment.for_service("dispatcher", {"CRASH_POINTS": "1"}, without)
    armed = environment.Addresses(PORTS, "t", "db", "u", "pw", SECRET, "/ledger", str(layout.crash_dir))
    assert environment.for_service("dispatcher", {}, armed)["CRASH_POINTS"] == str(layout.crash_dir)
    assert plan.settings_sum({"CRASH_POINTS": "1"}, {}) != plan.settings_sum({"CRASH_POINTS": "0"}, {})


def test_the_supervisors_configuration_names_every_member_and_no_secret():
    config = configparser.RawConfigParser()
    config.read_string(supervision.config_text())
    programs = [section.partition(":")[2] for section in config.sections() if section.startswith("program:")]
    assert programs == [*MEMBERS, supervision.LINKS]
    for member in programs:
        program = config[f"program:{member}"]
        assert program["autorestart"] == "unexpected"
        assert program["killasgroup"] == "true"
        assert (program["stdout_logfile_maxbytes"], program["stdout_logfile_backups"]) == ("10000000", "2")


@pytest.mark.parametrize("path", ["/a b/c", "/it's", '/say "x"', "/back\\slash", "/50%s $HOME ;#é"])
def test_any_folder_name_reaches_the_members_as_it_is(path):
    assert shlex.split(f'python "{supervision._quoted(path)}/nginx.spec.json"') == ["python", f"{path}/nginx.spec.json"]


def test_ends_that_nobody_asked_for_are_counted_since_the_supervisor_started(tmp_path):
    log = tmp_path / "supervisord.log"
    log.write_text(
        "x INFO exited: nginx (exit status 1; not expected)\n"
        "x INFO supervisord started with pid 7\n"
        "x WARN exited: nginx (terminated by SIGKILL; not expected)\n"
        "x WARN stopped: nginx (terminated by SIGKILL)\n"
        "x WARN exited: dispatcher (exit status 2; not expected)\n"
        "x INFO exited: postgres (exit status 0; expected)\n"
    )
    ends = supervision.unexpected_ends(log)
    assert {name: (end.count, end.last) for name, end in ends.items() if end.count} == {
        "nginx": (1, "terminated by SIGKILL"),
        "dispatcher": (1, "exit status 2"),
    }


def test_every_name_of_the_templates_is_filled_in_and_nginxs_own_stay(tmp_path):
    nginx.configure(tmp_path, PORTS)
    text = (tmp_path / "nginx.conf").read_text()
    assert not re.search(r"\$\{[A-Z]", re.sub("#.*", "", text))
    assert "$remote_addr" in text
    assert all(f"127.0.0.1:{PORTS[f'ingestion-api-{n}']} " in text for n in (1, 2, 3))
    with pytest.raises(KeyError):
        templates.render("nginx/nginx.conf.template", {})


def a_broker(folder):
    return kafka.Broker(java.Java(folder / "java", 25, "x"), (folder / "a.jar",), folder, folder, folder, {})


def test_brokers_are_configured_for_what_the_promise_needs(tmp_path):
    broker = a_broker(tmp_path)
    broker.configure(PORTS)
    for number, name in enumerate(BROKERS, 1):
        lines = (tmp_path / name / "server.properties").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        assert found["node.id"] == str(number)
        assert found["min.insync.replicas"] == "2"
        assert found["unclean.leader.election.enable"] == found["auto.create.topics.enable"] == "false"
        assert f"EXTERNAL://127.0.0.1:{PORTS[name]}" in found["advertised.listeners"]
    (tmp_path / "a,b").mkdir()
    with pytest.raises(StackError, match="comma"):
        a_broker(tmp_path / "a,b").configure(PORTS)


def a_stack_with_links(layout):
    chosen = ports.choose({}, {}, links=True)
    link_proxy.configure(layout, StackRecord(ports=chosen, links=True))
    return chosen, json.loads(layout.links_plan.read_text())["doors"]


def test_every_client_reaches_every_server_through_a_door_of_its_own(layout):
    chosen, doors = a_stack_with_links(layout)
    assert len(set(chosen.values())) == len(chosen) == 17 + 16 + 9
    addresses = environment.Addresses(chosen, "t", "db", "u", "pw", SECRET, "/ledger")
    for member, client in (("ingestion-api-2", "ingestion-api"), ("outbox-publisher", None), ("dispatcher", None)):
        env = environment.for_service(member, {}, addresses)
        dialled = [int(address.rpartition(":")[2]) for address in env["KAFKA_BOOTSTRAP_SERVERS"].split(",")]
        assert dialled == [doors[f"{client or member}:{broker}"]["port"] for broker in BROKERS]
        assert int(env["POSTGRES_PORT"]) == doors[f"{client or member}:postgres"]["port"]
    assert f":{doors['dispatcher:merchant-server']['port']}/" in env["WEBHOOK_URL"]
    assert doors["dispatcher:postgres"]["to"] == chosen["postgres"]
    nginx.configure(layout.nginx_dir, chosen)
    assert f"127.0.0.1:{doors['nginx:ingestion-api-3']['port']} " in (layout.nginx_dir / "nginx.conf").read_text()


def test_a_broker_tells_each_client_to_come_through_its_own_door(layout):
    chosen, doors = a_stack_with_links(layout)
    a_broker(layout.kafka_dir).configure(chosen)
    text = (layout.kafka_dir / "kafka-2" / "server.properties").read_text()
    found = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    for client, name in (("ingestion-api", "LINK_INGESTION_API"), ("dispatcher", "LINK_DISPATCHER")):
        door = doors[f"{client}:kafka-2"]
        assert f"{name}://127.0.0.1:{door['to']}" in found["listeners"].split(",")
        assert f"{name}://127.0.0.1:{door['port']}" in found["advertised.listeners"].split(",")
        assert f"{name}:PLAINTEXT" in found["listener.security.protocol.map"].split(",")


def test_a_door_whose_port_is_taken_is_named(layout):
    chosen, _ = a_stack_with_links(layout)
    supervisor = SimpleNamespace(members=lambda: {supervision.LINKS: SimpleNamespace(told_to_run=False)})
    words = rf"\(link dispatcher:postgres\) is taken by .*\(pid {os.getpid()}\)"
    taken = socket.create_server(("127.0.0.1", chosen["dispatcher:postgres"]))
    with taken, pytest.raises(StackError, match=words):
        link_proxy.bring_up(layout, StackRecord(ports=chosen, links=True), supervisor)


def test_a_stack_without_links_has_none_of_it(layout):
    assert "dispatcher:postgres" not in ports.choose({}, {})
    assert link_proxy.of(layout, StackRecord(ports=PORTS)) is None


def test_a_class_cache_is_kept_until_its_java_is_gone(tmp_path):
    (tmp_path / "java").touch()
    for name, owner in (("gone", tmp_path / "no-java"), ("other", tmp_path / "java")):
        (tmp_path / f"broker-{name}.aot").touch()
        (tmp_path / f"broker-{name}.java").write_text(str(owner))
    (tmp_path / "fresh").write_text("classes")
    broker = a_broker(tmp_path)
    broker._keep(tmp_path / "fresh")
    assert broker._class_cache.read_text() == "classes"
    kept = {path.stem for path in tmp_path.glob("broker-*")}
    assert kept == {"broker-other", broker._class_cache.stem}


def test_a_cache_folder_that_cannot_be_made_is_a_sentence(tmp_path, layout):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StackError, match="set BRUCE_CACHE to a folder of yours"),
        plan._choosing({"BRUCE_CACHE": str(tmp_path / "file" / "cache")}),
    ):
        pass


def test_cluster_ids_are_sixteen_bytes_and_never_look_like_an_option():
    ids = {kafka.new_cluster_id() for _ in range(300)}
    assert len(ids) == 300
    assert all(len(one) == 22 and not one.startswith("-") for one in ids)


def test_java_home_is_used_where_it_fits_and_refused_where_not(tmp_path):
    with pytest.raises(StackError, match="there is no"):
        java.find({"JAVA_HOME": str(tmp_path)})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
    with pytest.raises(StackError, match="Java 11; Kafka needs 17"):
        java.find({"JAVA_HOME": str(tmp_path)})
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.2"\n')
    found = java.find({"JAVA_HOME": str(tmp_path)})
    assert (found.version, found.makes_caches) == (21, False)
    assert java.find({}).version >= 25


def test_other_settings_have_another_sum_and_unrelated_variables_do_not():
    same = plan.settings_sum({"FAILURE_RATE": "0"}, {})
    assert plan.settings_sum({"FAILURE_RATE": "0", "EDITOR": "vi"}, {}) == same
    assert plan.settings_sum({"FAILURE_RATE": "1"}, {}) != same
    assert plan.settings_sum({"FAILURE_RATE": "0"}, {"nginx": ["x"]}) != same


def test_a_member_that_does_not_exist_cannot_be_replaced(tmp_path):
    with pytest.raises(StackError, match="no member broker-1"):
        open_runtime("local", tmp_path, {}, member_commands={"broker-1": ["true"]})


def test_the_broker_has_one_version_of_kafka_and_one_logging_binding():
    names = [jar.filename for jar in jars.pinned()]
    assert len(names) == len(set(names)) > 40
    assert {name.rpartition("-")[2] for name in names if name.startswith("kafka-")} == {"4.3.1.jar"}
    assert [name for name in names if "slf4j-impl" in name] == ["log4j-slf4j-impl-2.25.5.jar"]
