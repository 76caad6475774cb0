"""Whether a member does its work: each asked in its own way, all side by side, with short deadlines."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import orjson
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from control_room.stack.local import postgres
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS
from services.common.kafka import make_admin
from services.common.settings import KafkaSettings

_ANSWER_S: Final = 1.0
"""A member that takes longer is not ready. Healthy ones answer within milliseconds."""
_METADATA_S: Final = 1.5
SILENT: Final = "no answer"
"""What a reason begins with where nothing was heard at all."""


@dataclass
class Probes:
    """Asks the members of one stack. Keep it: it holds one Kafka client."""

    ports: dict[str, int]
    kafka: KafkaSettings
    _admin: AdminClient | None = field(default=None, init=False)
    _pool: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, len(MEMBERS), "probe"), init=False)
    """All are asked side by side. Kept: to start threads takes longer than to ask."""

    def ask(self, members: Collection[str]) -> dict[str, str]:
        """Why each of `members` is not ready; an empty text where it is. Never raises for one that is silent."""
        brokers = [name for name in members if name in BROKERS]
        others = [name for name in members if name not in (*BROKERS, "nginx")]
        kafka = self._pool.submit(self._brokers, brokers) if brokers else None
        answers = dict(zip(others, self._pool.map(self._one, others), strict=True))
        if "nginx" in members:
            answers["nginx"] = self._nginx(answers)
        if kafka is not None:
            answers.update(kafka.result())
        return answers

    def _nginx(self, answers: Mapping[str, str]) -> str:
        """nginx is asked only where a replica talks: a question that none behind it takes counts as a failure of each,
        and it would refuse every payment for two seconds more when they have long been there."""
        reasons = (answers[name] if name in answers else self._one(name) for name in API_REPLICAS)
        if all(reason.startswith(SILENT) for reason in reasons):
            return "no API replica behind it"
        return self._one("nginx")

    def _one(self, member: str) -> str:
        port = self.ports[member]
        if member == "postgres":
            return "" if postgres.answers(port) else f"Postgres does not take connections on port {port}"
        service = "ingestion-api" if member in API_REPLICAS else member
        return service_answer(service, f"http://{HOST}:{port}", f"on port {port}")

    def _brokers(self, members: list[str]) -> dict[str, str]:
        listening = {name: _listens(self.ports[name]) for name in members}
        answers = {name: f"nothing answers on port {self.ports[name]}" for name in members if not listening[name]}
        if len(answers) < len(members):
            problems = self._in_sync()
            answers.update((name, problems.get(name, "")) for name in members if listening[name])
        return answers

    def _in_sync(self) -> dict[str, str]:
        """What is wrong with each broker, by the cluster's own metadata; brokers without fault are left out."""
        try:
            if self._admin is None:
                self._admin = make_admin(self.kafka, "bruce-control")
            metadata = self._admin.list_topics(timeout=_METADATA_S)
        except KafkaException as error:
            return dict.fromkeys(BROKERS, f"Kafka gives no metadata: {error.args[0].str()}")
        problems = {}
        for number, name in enumerate(BROKERS, 1):
            if number not in metadata.brokers:
                problems[name] = "not (or not yet) a member of the cluster"
                continue
            behind = sum(
                number in partition.replicas and number not in partition.isrs
                for topic in metadata.topics.values()
                for partition in topic.partitions.values()
            )
            if behind:
                problems[name] = f"not in the in-sync set of {behind} partitions"
        return problems

    def topics_in_sync(self) -> str:
        """Why the topics are not as they must be: every partition with all its replicas in sync; else empty."""
        try:
            if self._admin is None:
                self._admin = make_admin(self.kafka, "bruce-control")
            topics = self._admin.list_topics(timeout=_METADATA_S).topics
        except KafkaException as error:
            return f"Kafka gives no metadata: {error.args[0].str()}"
        for name in (self.kafka.kafka_topic, self.kafka.dead_topic):
            if name not in topics or not topics[name].partitions:
                return f"the topic {name} does not exist yet"
            for number, partition in topics[name].partitions.items():
                if len(partition.isrs) < self.kafka.kafka_replication_factor:
                    return f"partition {number} of {name} has {len(partition.isrs)} replicas in sync"
        return ""


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), _ANSWER_S):
            return True
    except OSError:
        return False


def service_answer(service: str, url: str, where: str) -> str:
    """Why `service` (`nginx`, `ingestion-api`, `dispatcher` …) at `url` does not do its work; empty where it does.

    Args:
        service: which of them it is.
        url: its address, without a path of its questions.
        where: as a message names that address: `on port 8000`.
    """
    path, judge = _QUESTIONS.get(service, ("/healthz", _status_200))
    return _http(f"{url}{path}", where, judge)


def _http(url: str, where: str, judge: Callable[[int, bytes], str]) -> str:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_ANSWER_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return judge(answer.status, answer.read(65_536))
    except TimeoutError:
        return f"{SILENT} {where} within {_ANSWER_S:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"{SILENT} {where}: {getattr(error, 'strerror', None) or type(error).__name__}"
    finally:
        connection.close()


def _status_200(status: int, body: bytes) -> str:
    return "" if status == 200 else f"answers {status}{_said(body)}"


def _through_nginx(status: int, body: bytes) -> str:
    if status in (502, 504):
        return f"answers {status}: no API replica behind it"
    return _status_200(status, body)


def _has_partitions(status: int, body: bytes) -> str:
    if status != 200:
        return _status_200(status, body)
    try:
        assigned = orjson.loads(body)["assigned"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "its /status is not understood"
    return "" if assigned else "no partitions are assigned to it yet"


_QUESTIONS: Final[Mapping[str, tuple[str, Callable[[int, bytes], str]]]] = {
    "nginx": ("/readyz", _through_nginx),
    "ingestion-api": ("/readyz", _status_200),
    "dispatcher": ("/status", _has_partitions),
}
"""What each service is asked, and how its answer is judged; the others are asked whether they live."""


def _said(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())[:120]
    return f": {text}" if text and not text.startswith("<") else ""
