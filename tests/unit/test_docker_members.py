"""Which containers are members, when they are looked at again, and what takes the place of one."""

from types import SimpleNamespace

from control_room.stack.docker import clocks, engine, kafka_wipe, link_proxy, remake, views
from control_room.stack.docker.engine import Container
from control_room.stack.links.names import DOORS
from control_room.stack.local import clocks as local_clocks
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import State

LABELS = {"com.docker.compose.project": "shop", "com.docker.compose.service": "kafka-2"}


class Engine:
    """Lists what it is told; counts how often it is asked for more."""

    def __init__(self, *listed):
        self.listed = list(listed)
        self.asked = 0
        self.api = SimpleNamespace(containers=lambda **_: self.listed, inspect_container=self._inspect)

    def _inspect(self, container_id):
        self.asked += 1
        return {"Id": container_id, "asked": self.asked}


def listed(service, number=1, status="Up 3 minutes (healthy)", **more):
    labels = {**LABELS, "com.docker.compose.service": service, "com.docker.compose.container-number": str(number)}
    return {"Id": f"{service}{number}", "Labels": labels | more, "State": "running", "Status": status, "Ports": []}


def test_replicas_of_scale_are_members_and_the_proxy_and_errands_are_none():
    errand = listed("errand", **{"com.docker.compose.oneoff": "True"})
    found = engine.members(Engine(listed("dispatcher", 2), listed("links"), listed("ingestion-api", 4), errand), "shop")
    assert set(found) == {"dispatcher-2", "ingestion-api-4"}


def test_a_container_is_asked_about_again_only_when_the_engine_lists_it_otherwise():
    client, known = Engine(listed("dispatcher")), engine.Inspections()

    def look():
        return known.of(client, engine.containers(client, "shop")["dispatcher"])["asked"]

    assert [look(), look()] == [1, 1]
    client.listed = [listed("dispatcher", status="Up Less than a second (health: starting)")]
    assert [look(), look()] == [2, 2]
    known.forget()
    assert look() == 3


def test_a_stack_without_the_proxy_or_whose_proxy_is_down_has_no_links():
    ports = {f"{18200 + number}/tcp": [{"HostPort": str(20000 + number)}] for number in range(len(DOORS) + 1)}
    links = link_proxy.of({"NetworkSettings": {"Ports": ports}})
    assert links.at == ("127.0.0.1", 20000)
    assert list(links.ports) == list(DOORS)
    assert links.ports["ingestion-api:postgres"] == 20001
    assert links.relayed
    assert link_proxy.of(None) is None
    assert link_proxy.of({"NetworkSettings": {"Ports": {}}}) is None


def test_the_broker_that_takes_anothers_place_differs_in_its_cluster_alone():
    config = {"Hostname": "0123abc", "Image": "apache/kafka", "Env": ["A=1", "CLUSTER_ID=old"], "Labels": LABELS}
    host = {"NetworkMode": "shop_bruce", "Memory": 640}
    made = remake.like({"Name": "/shop-kafka-2-1", "Config": config, "HostConfig": host}, env={"CLUSTER_ID": "new"})
    assert made["Env"] == ["A=1", "CLUSTER_ID=new"]
    assert (made["Labels"], made["HostConfig"], "Hostname" in made) == (LABELS, {**host, "Binds": []}, False)
    ends = made["NetworkingConfig"]["EndpointsConfig"]
    assert ends == {"shop_bruce": {"Aliases": ["kafka-2", "shop-kafka-2-1"]}}


def test_a_member_that_had_a_clock_of_its_own_is_made_anew_as_it_was():
    host = {"NetworkMode": "shop_bruce", "Binds": ["/secret:/run/secrets/x:ro"]}
    config = {"Image": "bruce-services", "Env": ["A=1"], "Labels": LABELS}
    before = {"Name": "/shop-kafka-2-1", "Config": config, "HostConfig": host}
    env = local_clocks.variables("/run/bruce/clock/lib.so", "/run/bruce/clock/kafka-2.offset")
    under = remake.like(before, env=env, binds=["/state/clocks:/run/bruce/clock:ro"])
    found = {**before, "Config": {**config, "Env": under["Env"]}, "HostConfig": under["HostConfig"]}
    assert clocks.is_under(views.variables(found))
    assert under["HostConfig"]["Binds"] == ["/secret:/run/secrets/x:ro", "/state/clocks:/run/bruce/clock:ro"]
    again = remake.like(found, without=tuple(env))
    assert not clocks.is_under(views.variables({"Config": again}))
    assert (again["Env"], again["HostConfig"]["Binds"]) == (["A=1"], ["/secret:/run/secrets/x:ro"])


def test_the_new_clusters_id_is_kept_for_whoever_makes_the_containers_anew(tmp_path):
    layout = Layout(tmp_path / "state")
    assert kafka_wipe.kept(layout) == {}
    kafka_wipe.keep(layout, "new")
    assert kafka_wipe.kept(layout) == {"KAFKA_CLUSTER_ID": "new"}
    kafka_wipe.forget(layout)
    assert kafka_wipe.kept(layout) == {}


def test_what_nothing_brings_back_has_crashed_when_it_is_down():
    def found(policy):
        return {"State": {"Status": "exited"}, "HostConfig": {"RestartPolicy": {"Name": policy}}}

    assert views.state_of(found("unless-stopped")) is State.STOPPED
    assert views.state_of(found("no")) is State.CRASHED


def test_labels_of_an_errand_let_down_find_it():
    labels = engine.errand_of(Container("0123abc", "kafka-2", "shop"))
    assert labels["com.docker.compose.project"] == "shop"
    assert engine.containers(Engine({**listed("errand"), "Labels": labels}), "shop") == {}
