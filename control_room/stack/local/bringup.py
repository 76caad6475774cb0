"""`up`: starts every member as soon as what it needs answers, side by side, and returns when all of them are ready."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import psycopg
from confluent_kafka import KafkaException

from control_room.stack.local import nginx, postgres
from control_room.stack.local.plan import SERVICES, Plan
from control_room.stack.local.readiness import Probes
from control_room.stack.local.supervision import Phase, Supervised, Supervisor, last_lines, unexpected_ends
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, Narrate, StackError
from services.common.kafka import TopicError, ensure_topics

_LOOK_EVERY_S: Final = 0.15
_TELL_EVERY_S: Final = 3.0
_MEMBER_DEADLINE_S: Final = 120.0
"""From a member's start to its readiness: a broker on a slow, busy machine takes a quarter of it."""
_ENDS_ALLOWED: Final = 3
"""A member that ends by itself more often than this while it comes up will not come up."""
_SETTINGS_REFUSED: Final = "exit status 2"
"""What a service leaves with when a variable is wrong; starting it again would change nothing."""
_LOG_LINES: Final = 12

_DATABASE: Final = "database"
_TOPICS: Final = "topics"
_POSTGRES_FILES: Final = "postgres files"
_KAFKA_FILES: Final = "kafka files"
_NEEDS: Final[dict[str, frozenset[str]]] = {
    "nginx": frozenset(),
    "merchant-server": frozenset(),
    "postgres": frozenset({_POSTGRES_FILES}),
    **dict.fromkeys(BROKERS, frozenset({_KAFKA_FILES})),
    **dict.fromkeys(API_REPLICAS, frozenset({_DATABASE})),
    "outbox-publisher": frozenset({_DATABASE, _TOPICS}),
    "dispatcher": frozenset({_DATABASE, _TOPICS}),
}
"""The steps that must be done before a member starts."""


class BringUp:
    """One run of `up` over a stack whose supervisord answers."""

    def __init__(self, plan: Plan, supervisor: Supervisor, probes: Probes, narrate: Narrate) -> None:
        self._plan = plan
        self._supervisor = supervisor
        self._probes = probes
        self._narrate = narrate
        self._since: dict[str, float] = {}
        """When each member was seen started or was started (monotonic)."""
        self._reasons: dict[str, str] = {}
        """Why each started member is not ready yet."""
        self._ready: set[str] = set()
        self._steps: dict[str, Future[None]] = {}
        self._log = plan.layout.supervisor_log
        self._ends_before = unexpected_ends(self._log)

    def run(self) -> None:
        """Returns when every member is ready; raises StackError with the end of the log of one that does not."""
        began = told = time.monotonic()
        with ThreadPoolExecutor(4, thread_name_prefix="up") as pool:
            try:
                while not self._advance(pool):
                    if time.monotonic() - told >= _TELL_EVERY_S:
                        told = time.monotonic()
                        self._narrate(self._waiting(told - began))
                    time.sleep(_LOOK_EVERY_S)
            finally:
                for step in self._steps.values():
                    step.cancel()
        self._narrate(f"every member is ready ({time.monotonic() - began:.1f} s)")

    def _advance(self, pool: ThreadPoolExecutor) -> bool:
        """One look: starts what can start, asks what has started; whether all is done."""
        supervised = self._supervisor.members()
        now = time.monotonic()
        for member in MEMBERS:
            if member not in self._since and (supervised[member].told_to_run or self._may_start(member, pool)):
                self._supervisor.start_member(member)
                self._since[member] = now
        asked = [member for member in self._since if member not in self._ready]
        for member, reason in self._probes.ask(asked).items():
            if not reason:
                self._ready.add(member)
            self._reasons[member] = reason
        self._fail_on_lost(self._supervisor.members())
        if len(self._ready) < len(MEMBERS):
            return False
        reason = self._probes.topics_in_sync()
        if reason == "":
            # A member that was ready and died meanwhile must not pass for ready.
            self._ready = {m for m, why in self._probes.ask(MEMBERS).items() if not why}
            return len(self._ready) == len(MEMBERS)
        self._reasons["kafka-1"] = reason
        return False

    def _may_start(self, member: str, pool: ThreadPoolExecutor) -> bool:
        needed = [self._step(name, pool) for name in sorted(_NEEDS[member])]
        return all(step is not None and step.done() and step.result() is None for step in needed)

    def _step(self, name: str, pool: ThreadPoolExecutor) -> Future[None] | None:
        """The step called `name`, begun where it can begin; None where it cannot yet. A failed one raises here."""
        if name not in self._steps:
            begin = self._possible(name)
            if begin is None:
                return None
            self._steps[name] = pool.submit(begin)
        step = self._steps[name]
        if step.done():
            step.result()
        return step

    def _possible(self, name: str) -> Callable[[], None] | None:
        if name == _DATABASE and "postgres" not in self._ready:
            return None
        if name == _TOPICS and not self._ready.issuperset(BROKERS):
            return None
        steps: dict[str, Callable[[], None]] = {
            _POSTGRES_FILES: self._prepare_postgres,
            _KAFKA_FILES: self._prepare_kafka,
            _DATABASE: self._prepare_database,
            _TOPICS: self._prepare_topics,
        }
        return steps[name]

    def _prepare_postgres(self) -> None:
        plan = self._plan
        plan.postgres.initialise(plan.record.postgres_user, plan.password, self._narrate)

    def _prepare_kafka(self) -> None:
        plan = self._plan
        brokers = plan.brokers(self._narrate)
        brokers.configure(plan.record.ports)
        brokers.train(self._narrate)
        brokers.format(plan.record.cluster_id)
        plan.write_specs(brokers)

    def _prepare_database(self) -> None:
        try:
            postgres.ensure_database(self._plan.maintenance_conninfo, self._plan.record.postgres_db)
        except psycopg.Error as error:
            raise StackError(f"cannot make the database {self._plan.record.postgres_db}: {error}") from error

    def _prepare_topics(self) -> None:
        try:
            ensure_topics(self._probes.kafka, "bruce-control")
        except TopicError as error:
            raise StackError(str(error)) from error
        except KafkaException as error:
            raise StackError(f"cannot make the topics: {error.args[0].str()}") from error

    def _fail_on_lost(self, supervised: dict[str, Supervised]) -> None:
        ends = unexpected_ends(self._log)
        now = time.monotonic()
        for member, since in self._since.items():
            seen, waited_s = supervised[member], now - since
            if member in self._ready:
                continue
            ended = ends[member].count - self._ends_before[member].count
            if ended and member in SERVICES and ends[member].last == _SETTINGS_REFUSED:
                self._give_up(member, "does not accept its settings")
            if seen.phase is Phase.FATAL or ended > _ENDS_ALLOWED:
                self._give_up(member, f"ends by itself again and again ({ends[member].last})")
            if seen.phase is Phase.EXITED and seen.exit_status == 0:
                self._give_up(member, "ended by itself")
            if seen.phase in (Phase.STOPPED, Phase.STOPPING):
                self._give_up(member, "was stopped meanwhile")
            if waited_s > _MEMBER_DEADLINE_S:
                self._give_up(member, f"is not ready after {waited_s:.0f} s: {self._reasons.get(member, '')}")

    def _give_up(self, member: str, why: str) -> None:
        path = self._plan.layout.log_file(member)
        lines = last_lines(path, _LOG_LINES)
        said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        raise StackError(f"{member} {why}. The end of its log, {path}:\n{said}")

    def _waiting(self, elapsed_s: float) -> str:
        now = time.monotonic()
        parts = [
            f"{member} ({now - since:.0f} s: {self._reasons.get(member) or 'asking'})"
            for member, since in self._since.items()
            if member not in self._ready
        ]
        parts += [name for name, step in self._steps.items() if not step.done()]
        if not parts:
            parts = [self._reasons.get("kafka-1") or "the next look"]
        return f"{elapsed_s:.0f} s, {len(self._ready)} of {len(MEMBERS)} ready; waiting for {', '.join(parts)}"


def configure(plan: Plan) -> None:
    """Writes what members are started with, as far as it is known before Kafka's jars are at hand."""
    nginx.configure(plan.layout.nginx_dir, plan.record.ports)
    _disarm_all(plan)
    plan.write_service_specs()


def _disarm_all(plan: Plan) -> None:
    """A fresh start has no crash point armed, whatever an earlier one has left."""
    folder = plan.layout.crash_dir
    if plan.record.crash_points:
        folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob("*"):
        left.unlink(missing_ok=True)
