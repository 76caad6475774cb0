"""A run that is over, made up: a payment a second, each delivered two seconds later after one failure."""

from __future__ import annotations

import json
from dataclasses import replace

from control_room.tracking.parts import Part
from control_room.tracking.record import RecordWriter
from control_room.tracking.runs import RunStanding
from control_room.verify import check, write_manifest, write_verdict
from control_room.verify.arithmetic import Arithmetic
from control_room.verify.files import TRACKING
from tests.ui.moments import BROKER_DOWN, HEALTHY, NOW_S, run
from tests.unit.histories import sha, write_chain

RUN = "20261126-120308-10b2"
SECONDS = 30
PAYMENTS = 24
DOWN = range(8, 19)
"""Seconds in which a broker was down."""


def tid(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def total_at(second):
    """The arithmetic of one second."""
    accepted, delivered = min(PAYMENTS, second + 1), min(PAYMENTS, max(0, second - 1))
    return Arithmetic(accepted, delivered, retrying=accepted - delivered)


def instant(second):
    """The snapshot of one second."""
    state = BROKER_DOWN if second in DOWN else HEALTHY
    standing = RunStanding(run(), total_at(second))
    return replace(state, number=second + 1, taken_at_s=NOW_S + second, run=Part(standing, age_s=0.3))


def made(state_dir, *, record=True, verified=True):
    """The folder of the run."""
    path = state_dir / "runs" / RUN
    path.mkdir(parents=True)
    document = {"format": 1, "run": RUN, "seed": 1, "ledger_from": 0, "settings": {}, "started_at": NOW_S}
    document |= {"source": {"name": "transactions.csv"}, "api_url": "http://127.0.0.1:8000"}
    (path / "run.json").write_text(json.dumps(document))
    write_chain(path / "operations.jsonl", _operations())
    write_chain(path / "faults.jsonl", _faults())
    if record:
        writer = RecordWriter(path / TRACKING)
        for second in range(SECONDS + 1):
            writer.take(instant(second))
        writer.close()
    if verified:
        write_chain(path / "ledger.jsonl", _ledger())
        write_chain(path / "attempts.jsonl", _attempts())
        write_chain(path / "stores.jsonl", [{"k": "sources", "complete": True}])
        drain = {"ended": "complete", "ended_at": NOW_S + SECONDS, "ledger_next": 2 * PAYMENTS}
        (path / "drain.json").write_text(json.dumps(drain))
        write_manifest(path)
        write_verdict(path, check(path))
    return path


def _operations():
    lines = [{"k": "start", "run": RUN, "at": NOW_S}]
    for number in range(PAYMENTS):
        at_s, body = NOW_S + number, sha(tid(number))
        sent = {"k": "invoke", "op": number, "id": tid(number), "try": 1, "at": at_s, "due": at_s, "sha": body}
        answer = {"k": "ok", "op": number, "at": at_s + 0.01, "status": 201, "dup": False, "by": "ingestion-api-2"}
        lines += [{**sent, "row": number + 2}, answer]
    return [*lines, {"k": "end", "ops": PAYMENTS, "at": NOW_S + PAYMENTS}]


def _tries():
    for number in range(PAYMENTS):
        yield number, 1, NOW_S + number + 0.5, 500
        yield number, 2, NOW_S + number + 2.0, 200


def _ledger():
    lines = [
        {
            "k": "req",
            "id": tid(number),
            "at": at_s,
            "sha": sha(tid(number)),
            "hmac": "ok",
            "wh": "ok",
            "status": status,
            "src": f"1@{number}",
            "att": f"1.{attempt}",
            "by": "dispatcher",
        }
        for number, attempt, at_s, status in _tries()
    ]
    return sorted(lines, key=lambda line: line["at"])


def _attempts():
    return [
        {
            "k": "attempt",
            "id": tid(number),
            "round": 1,
            "try": attempt,
            "at": at_s - 0.005,
            "ms": 10.0,
            "status": status,
            "error": None,
            "by": "dispatcher",
            "partition": 1,
            "offset": number,
            "next": at_s + 1.5 if status == 500 else None,
        }
        for number, attempt, at_s, status in _tries()
    ]


def _faults():
    began_s, ended_s = NOW_S + DOWN.start, NOW_S + DOWN.stop
    said = "kill kafka-2: leads 1 of 3 partitions, in-sync 3→2: writes go on"
    return [
        {"k": "apply", "fault": 7, "name": "kill", "target": "kafka-2", "at": began_s, "expect": said},
        {"k": "evidence", "fault": 7, "at": began_s + 0.2, "ok": True, "facts": {"pid_gone": True}},
        {"k": "heal", "fault": 7, "at": ended_s, "ok": True, "facts": {"ready": True}},
    ]
