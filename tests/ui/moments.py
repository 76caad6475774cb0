"""Snapshots of the states that matter, made up: what collectors would publish. Times are fixed, so screens are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from control_room.stack.runtime import MEMBERS, Endpoints, MemberStatus, State
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.faults_view import FaultLine, FaultsView, RunningFault
from control_room.tracking.group_members import GroupMember
from control_room.tracking.kafka_view import KafkaStatus, PartitionStatus
from control_room.tracking.listing import Listing, Query
from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.members import MemberView
from control_room.tracking.parts import Part
from control_room.tracking.pipeline import OutboxStatus
from control_room.tracking.runs import RunStanding, RunSummary
from control_room.tracking.snapshot import MerchantView, Pace, Snapshot
from control_room.tracking.steps import CLOSING, StepRow, Steps, StepState
from control_room.tracking.transactions import TransactionRow

NOW_S = 1_790_000_000.0
ENDPOINTS = Endpoints(
    api_url="http://127.0.0.1:8000",
    replica_urls={},
    merchant_url="http://127.0.0.1:5001",
    webhook_url="http://127.0.0.1:5001/webhook_listener",
    kafka_bootstrap="127.0.0.1:19092",
    kafka_ports={},
    kafka_topic="payment-webhooks",
    kafka_group="bruce-dispatcher",
    postgres_conninfo="",
    metrics_urls={},
    dispatcher_status_url="http://127.0.0.1:9102/status",
    ports={},
)
DOWN = "no stack is running with its state in .bruce; start one with `bruce-control up`"
BEHAVIOUR = {"mode": "normal", "failure_rate": 0.7, "timeout_share": 0.5, "latency_ms": 0.0}


def member(name: str, **changes: object) -> MemberView:
    status = MemberStatus(
        name, State.RUNNING, True, pid=100, started_at_s=NOW_S - 83, cpu_s=4.0, memory_bytes=48 * 2**20
    )
    return MemberView(replace(status, **changes), 0.07, (0.1, 0.3, 0.07))


def transaction(number: int, **changes: object) -> TransactionRow:
    values: dict[str, object] = {
        "transaction_id": f"{number:08x}-0000-4000-8000-000000000000",
        "amount_inr": Decimal("3907.34"),
        "status": "SUCCESS",
        "sender_name": "Anna",
        "receiver_name": "Ravi Stores",
        "accepted_at_s": NOW_S - number,
        "accepted_by": "ingestion-api-2",
        "state": "delivered",
        "published_at_s": NOW_S - number + 0.01,
        "published_by": "ingestion-api-2",
        "partition": 1,
        "offset": 4000 + number,
        "republished": 0,
        "round": 1,
        "attempt": 1,
        "attempts_total": 1,
        "last_status": 200,
        "last_error": None,
        "next_due_at_s": None,
        "delivered_at_s": NOW_S - number + 0.1,
        "age_s": float(number),
    }
    return TransactionRow(**{**values, **changes})


def kafka(*, without: int | None = None) -> KafkaStatus:
    brokers = tuple(each for each in (1, 2, 3) if each != without)
    return KafkaStatus(
        brokers,
        brokers[0],
        "payment-webhooks",
        True,
        2,
        tuple(
            PartitionStatus(
                number, brokers[number % len(brokers)], (1, 2, 3), brokers, 400 + number, 390, 10 + number, number
            )
            for number in range(3)
        ),
        "bruce-dispatcher",
        group_state="Stable",
        members=(GroupMember("dispatcher", "dispatcher", "127.0.0.1", (0, 1, 2)),),
    )


def run(verdict: str = "open", **changes: object) -> RunSummary:
    made = RunSummary(
        "20261126-093530-10b2", Path("/runs/20261126-093530-10b2"), NOW_S - 60, "transactions.csv", verdict
    )
    return replace(made, **changes)


EMPTY = Snapshot(
    number=1,
    taken_at_s=NOW_S,
    stack=Part(None, DOWN),
    members=Part(tuple(MemberView(MemberStatus(name, State.STOPPED, False, "not started"), 0.0) for name in MEMBERS)),
    runs=Part(()),
    faults=Part(FaultsView()),
)

OPEN_ROWS = (
    transaction(
        1,
        state="outbox",
        round=0,
        attempt=0,
        attempts_total=0,
        last_status=None,
        published_at_s=None,
        partition=None,
        offset=None,
        delivered_at_s=None,
    ),
    transaction(9, state="retrying", attempt=2, attempts_total=2, last_status=500, delivered_at_s=None),
    transaction(
        41,
        state="requeued",
        round=2,
        attempt=3,
        attempts_total=3,
        last_status=None,
        last_error="timeout after 3 s",
        delivered_at_s=None,
    ),
)

TID = f"tid={OPEN_ROWS[1].transaction_id}"
SAID = "kill kafka-2: leads 1 of 3 partitions, in-sync 3→2: writes go on"

HEALTHY = Snapshot(
    number=1,
    taken_at_s=NOW_S,
    stack=Part(ENDPOINTS),
    members=Part(tuple(member(name) for name in MEMBERS)),
    kafka=Part(kafka()),
    outbox=Part(OutboxStatus(1, 0, 0.3)),
    dispatcher=Part(
        {
            "in_flight": 3,
            "retrying": 1,
            "parked": 0,
            "requeuing": 0,
            "unrecorded": 0,
            "assigned": [0, 1, 2],
            "phase": "open",
            "paused": False,
        }
    ),
    merchant=Part(MerchantView(BEHAVIOUR, {"200": 12360, "500": 40})),
    counts=Part(Arithmetic(12408, 12360, outbox=31, retrying=17)),
    transactions=Part(
        Listing(
            Query(),
            (*OPEN_ROWS, *(transaction(number) for number in range(50, 90))),
            43,
            3,
            OPEN_ROWS[1],
            latencies_s=(0.1,) * 38 + (0.35, 4.2),
        )
    ),
    run=Part(RunStanding(run(), Arithmetic(12408, 12360, outbox=31, in_flight=17), 0.0, 3), age_s=0.4),
    runs=Part((run(),)),
    faults=Part(FaultsView()),
    logs=Part(
        LogView(
            tuple(
                LogLine("dispatcher", f"2026-11-26T09:35:{number:02d}.000Z", level, text, TID)
                for number, (level, text) in enumerate(
                    [
                        ("info", "Retrying webhook delivery attempt=2/3"),
                        ("warning", "Consumer paused (3 partitions)"),
                        ("error", "a fatal client error"),
                    ]
                    * 10
                )
            ),
            120,
        )
    ),
    pace=Pace((40.0, 50.0), (40.0, 50.0), (30.0, 45.0), (30.0, 44.0), (70.0, 90.0)),
)

STARTING = replace(
    HEALTHY,
    members=Part(
        tuple(
            member(
                name, state=State.STARTING, ready=False, reason=f"no answer on port 80{number:02d}: Connection refused"
            )
            for number, name in enumerate(MEMBERS)
        )
    ),
    kafka=Part(None, "no broker answers: none of the ports listens"),
    run=Part(None),
    counts=Part(None, "Postgres does not answer: connection refused"),
    transactions=Part(None, "Postgres does not answer: connection refused"),
)

BROKER_DOWN = replace(
    HEALTHY,
    members=Part(
        tuple(
            member(name, **({"state": State.STOPPED, "ready": False, "reason": "killed"} if name == "kafka-2" else {}))
            for name in MEMBERS
        )
    ),
    kafka=Part(kafka(without=2)),
    faults=Part(
        FaultsView(
            (
                RunningFault(
                    7,
                    "kill",
                    "kafka-2",
                    NOW_S - 12,
                    SAID,
                    True,
                    {"pid_gone": True, "port_refused": True},
                    NOW_S + 18,
                ),
            ),
            (FaultLine(NOW_S - 12, "apply", 7, True, SAID),),
        )
    ),
)

PAUSED = replace(
    HEALTHY,
    dispatcher=Part({**(HEALTHY.dispatcher.value or {}), "paused": True, "paused_until": NOW_S + 259}),
    run=Part(RunStanding(run(), Arithmetic(12408, 12360, requeued=48)), age_s=0.4),
    transactions=Part(replace(HEALTHY.transactions.value, oldest_open=OPEN_ROWS[2])),
)

ANOTHERS_SCENARIO = replace(
    HEALTHY,
    run=Part(
        RunStanding(
            run(),
            Arithmetic(12408, 12360, outbox=48),
            steps=Steps(
                "kill-two",
                (
                    StepRow(0, "at 25% accepted: kill kafka-2", StepState.DONE, NOW_S - 20, NOW_S - 12),
                    StepRow(1, "after 4 s: heal all", StepState.RUNNING, NOW_S - 12),
                    StepRow(2, CLOSING),
                ),
            ),
        )
    ),
)

UNACCOUNTED = replace(
    HEALTHY, run=Part(RunStanding(run(), Arithmetic(12408, 12360, outbox=45, unaccounted=3), 6.2), age_s=0.4)
)

LOST = replace(
    HEALTHY,
    run=Part(
        RunStanding(
            run(
                "invalid",
                accepted=300,
                delivered=298,
                faults=2,
                classes={"delivered": 298, "lost": 2, "duplicated": 3},
                reasons=("2 acknowledged payments did not arrive",),
                arithmetic=Arithmetic(300, 298, unaccounted=2),
            ),
            Arithmetic(300, 298, unaccounted=2),
        )
    ),
)

UNKNOWN = replace(
    HEALTHY,
    run=Part(RunStanding(run(), Arithmetic(12408, 12360, outbox=48, stale=("postgres silent for 4 s",))), age_s=0.4),
    kafka=Part(kafka(), "no broker answers", 7.0),
)

MOMENTS = {
    "empty": EMPTY,
    "starting": STARTING,
    "healthy": HEALTHY,
    "broker-down": BROKER_DOWN,
    "paused": PAUSED,
    "unaccounted": UNACCOUNTED,
    "lost": LOST,
    "unknown": UNKNOWN,
}
