"""Kafka made anew on the local runtime: every broker's data deleted, formatted as another cluster."""

from __future__ import annotations

from collections.abc import Iterable

from control_room.stack.local import faults, kafka
from control_room.stack.local.layout import Layout
from control_room.stack.local.plan import Plan
from control_room.stack.local.supervision import Supervisor
from control_room.stack.runtime import BROKERS, FreshKafka


def wipe(plan: Plan, supervisor: Supervisor) -> FreshKafka:
    """Kills all brokers, deletes what they hold and formats them with a new cluster id; they stay down.

    The new id is on disk first: whoever goes on after an interruption formats all of them as the same cluster.
    """
    brokers = plan.brokers(_silent)
    cluster_id = kafka.new_cluster_id()
    plan.record.but(cluster_id=cluster_id).save(plan.layout)
    faults.kill(plan.layout, supervisor, list(BROKERS))
    brokers.unformat()
    brokers.format(cluster_id)
    return FreshKafka(cluster_id, brokers.partitions_held())


def unformatted(layout: Layout, members: Iterable[str]) -> bool:
    """Whether one of `members` is a broker whose data is gone: a wipe was interrupted."""
    return any(not kafka.is_formatted(layout.kafka_dir / member) for member in members if member in BROKERS)


def make_good(plan: Plan) -> None:
    """Formats the brokers that are not."""
    plan.brokers(_silent).format(plan.record.cluster_id)


def _silent(_: str) -> None:
    pass
