"""What a start needs to know, decided before anything runs: ports, secrets, and what each member is started with."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.stack.local import environment, jars, java, kafka, link_proxy, nginx, ports, postgres, record, views
from control_room.stack.local.layout import Layout, write_json, write_private
from control_room.stack.local.record import StackRecord
from control_room.stack.local.supervision import LINKS
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, RECORDS, Narrate, StackError

SERVICES: Final = (*API_REPLICAS, "outbox-publisher", "merchant-server", "dispatcher")
_ACCEPTING: Final = ("nginx", *API_REPLICAS)
"""Whoever pays waits for these: each has a session, and so a share of the processors, of its own (see `launch`)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One start of a stack."""

    layout: Layout
    record: StackRecord
    environ: Mapping[str, str]
    secret: str
    password: str
    postgres: postgres.Postgres

    @property
    def maintenance_conninfo(self) -> str:
        """For making the database: the one that every Postgres has."""
        return postgres.conninfo(self.record.ports["postgres"], self.record.postgres_user, self.password, "postgres")

    def brokers(self, narrate: Narrate) -> kafka.Broker:
        """The brokers, with Kafka's jars at hand. Raises StackError where these cannot be had."""
        cache = jars.cache_dir(self.environ)
        found = jars.provide(cache, self.environ, narrate)
        runtime, system = java.find(self.environ), environment.system(self.environ)
        return kafka.Broker(runtime, tuple(found), self.layout.kafka_dir, cache, self.layout.run_dir, system)

    def write_specs(self, brokers: kafka.Broker) -> None:
        """Writes what every member but the services is started with."""
        system = environment.system(self.environ)
        for member in BROKERS:
            self._write(member, brokers.command(member), system)

    def write_service_specs(self) -> None:
        """Writes what nginx, Postgres, the services and the proxy of the links are started with."""
        layout, found = self.layout, self.record
        system = environment.system(self.environ)
        addresses = self._addresses()
        self._write("nginx", nginx.command(layout.nginx_dir), system)
        account = self.postgres.account
        who = {} if account is None else {"uid": account.uid, "gid": account.gid}
        command = self.postgres.command(found.ports["postgres"])
        self._write("postgres", command, postgres.environment(system), **who)
        for member in SERVICES:
            env = environment.for_service(member, self.environ, addresses)
            self._write(member, environment.service_command(member), env)
        if found.links:
            link_proxy.configure(layout, found)
            self._write(LINKS, link_proxy.command(layout), system)

    def _addresses(self) -> environment.Addresses:
        found = self.record
        return environment.Addresses(
            ports=found.ports,
            topic=found.topic,
            database=found.postgres_db,
            user=found.postgres_user,
            password=self.password,
            secret=self.secret,
            ledger=str(self.layout.ledger_file),
            crash_dir=str(self.layout.crash_dir) if found.crash_points else "",
        )

    def _write(self, member: str, command: list[str], env: Mapping[str, str], **extra: int) -> None:
        argv = self.record.replaced.get(member, command)
        # Whoever replaces a member names files and modules as seen from where `up` runs.
        cwd = str(Path.cwd() if member in self.record.replaced else self.layout.state)
        if "uid" in extra:
            cwd = "/"  # Postgres as another user cannot enter the state folder
        spec: dict[str, Any] = {"argv": argv, "env": dict(env), "cwd": cwd, **extra}
        spec["own_session"] = member in _ACCEPTING
        write_json(self.layout.spec_file(member), {**spec, "record": str(self.layout.pid_file(member))})


def make(
    layout: Layout,
    environ: Mapping[str, str],
    replaced: Mapping[str, Sequence[str]],
    narrate: Narrate,
    *,
    links: bool = False,
) -> Plan:
    """Decides everything a start needs, and keeps it on disk; `links`: whether the members dial through links.

    Raises:
        StackError: a setting that cannot be used, a port that is taken, a folder that cannot be written.
    """
    layout.prepare()
    before = StackRecord.load(layout) or StackRecord(cluster_id=kafka.new_cluster_id())
    place = postgres.locate(layout, narrate)
    if not record.kept_postgres_password(layout):
        place.remove_data()  # of a state folder that was deleted by hand: nobody knows its password any more
    has_data = place.has_data()
    password = record.postgres_password(layout, environ, has_data=has_data)
    secret = record.hmac_secret(layout, environ)
    warn_of_unused(environ, narrate)
    user = before.postgres_user if has_data else environ.get("POSTGRES_USER") or record.DEFAULT_NAME
    found = before.but(
        topic=environ.get("KAFKA_TOPIC") or record.DEFAULT_TOPIC,
        postgres_user=user,
        postgres_db=environ.get("POSTGRES_DB") or before.postgres_db,
        replaced={member: list(command) for member, command in replaced.items()},
        crash_points=environment.crash_points(environ),
        settings=environment.given(environ),
        links=links,
        settings_sum=settings_sum(environ, replaced),
    )
    views.kafka_settings(found.but(ports=dict.fromkeys(MEMBERS, 1)))  # refuses a topic that cannot be one
    with _choosing(environ) as registry:
        others = ports.registry_ports(registry, layout.state)
        chosen = ports.choose(ports.asked_for(environ), before.ports, others, links=links)
        found = found.but(ports=chosen)
        plan = Plan(layout, found, environ, secret, password, place)
        found = found.but(webhook_url=environ.get("WEBHOOK_URL") or plan._addresses().webhook_url)
        found.save(layout)
        _register(registry, layout.state)
    _tell_moved(chosen, narrate)
    return Plan(layout, found, environ, secret, password, place)


def warn_of_unused(environ: Mapping[str, str], narrate: Narrate) -> None:
    """Says which of the user's variables the local stack has its own values for."""
    given = [name for name in environment.DECIDED_HERE if environ.get(name)]
    if given:
        narrate(f"{', '.join(given)} is not used: the local stack runs its own Postgres and Kafka")


def settings_sum(environ: Mapping[str, str], replaced: Mapping[str, Sequence[str]]) -> str:
    """A sum over what a user can change about a start."""
    asked = {name: environ[name] for group in ports.GROUPS if (name := group.variable) in environ}
    chosen = {"KAFKA_TOPIC", "POSTGRES_DB", "HMAC_SECRET"} & environ.keys()
    facts = {
        **environment.given(environ),
        **asked,
        **{name: environ[name] for name in chosen},
        **{f"replace {member}": list(command) for member, command in replaced.items()},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _tell_moved(chosen: Mapping[str, int], narrate: Narrate) -> None:
    moved = [
        f"{name} on {chosen[name]}"
        for group in ports.GROUPS
        for name, preferred in zip(group.names, group.preferred, strict=True)
        if chosen[name] != preferred and name in MEMBERS
    ]
    if moved:
        narrate(f"ports other than the usual ones: {', '.join(moved)}")


@contextlib.contextmanager
def _choosing(environ: Mapping[str, str]) -> Iterator[Path]:
    """The list of this user's stacks, held for oneself: two that start at once must not choose the same ports."""
    folder = jars.cache_dir(environ)
    registry = folder / "stacks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "stacks.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(
            f"cannot write in the cache folder {folder}: {error.strerror}; set BRUCE_CACHE to a folder of yours"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield registry
    finally:
        os.close(descriptor)


def _register(registry: Path, state: Path) -> None:
    """Adds this stack to the list and drops those whose state folder is gone."""
    known: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        known = registry.read_text(encoding="utf-8").splitlines()
    kept = [line for line in known if line != str(state) and (Path(line) / RECORDS["local"]).is_file()]
    write_private(registry, "\n".join([*kept, str(state)]) + "\n")
