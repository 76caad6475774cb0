"""Runs made by hand: real files, with real chains and a real manifest, for a history spelled out in a test."""

import hashlib
import json
from pathlib import Path

from control_room.verify import write_manifest
from services.common.chain import ChainWriter

T0 = 1_700_000_000.0
RUN = "run-1"
TOPIC = "topic-1"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def tid(number):
    return f"00000000-0000-4000-8000-{number:012x}"


def write_chain(path, records, *, first=0):
    writer = ChainWriter(next_n=first, last_c="0badf00d" if first else "")
    path.write_bytes(b"".join(writer.line(record) for record in records))


class History:
    """Collects what client, merchant, injector and Postgres wrote; `write` makes the run's folder of it."""

    def __init__(self, folder: Path, run=RUN, ledger_from=7):
        self.folder = folder
        self.run = run
        self.ledger_from = ledger_from
        self.settings = {}
        self.operations = [{"k": "start", "run": run, "at": T0}]
        self.ledger = []
        self.faults = []
        self.stores = {}
        self.stores_complete = True
        self.pruned_to = None
        self.attempts = []
        self.redeliveries = []
        self.crosscheck = []
        self.tracking = [{"k": "whole", "at": T0, "ages": [], "now": {}}]
        self.figures = {}
        self.before = []
        self.others = []
        self.earlier = []
        self.drain = {"ended": "complete", "ended_at": T0 + 1000, "ledger_next": 0}
        self.ended = True
        self.ops = 0
        self.clock = T0

    def tick(self):
        self.clock += 1.0
        return self.clock

    # ---- the client
    def invoke(self, id_, body="body"):
        self.ops += 1
        self.operations.append(
            {
                "k": "invoke",
                "op": self.ops,
                "id": id_,
                "try": 1,
                "at": self.tick(),
                "due": self.clock,
                "sha": sha(body + id_.lower()),
                "row": 1,
            }
        )
        return self.ops

    def ok(self, op, dup=False):
        self.operations.append(
            {"k": "ok", "op": op, "at": self.tick(), "status": 201, "dup": dup, "by": "ingestion-api-1"}
        )

    def fail(self, op, status=409):
        self.operations.append({"k": "fail", "op": op, "at": self.tick(), "status": status})

    def info(self, op, why="timeout"):
        self.operations.append({"k": "info", "op": op, "at": self.tick(), "why": why})

    def send(self, id_, answer="ok", body="body", dup=False):
        op = self.invoke(id_, body)
        if answer == "ok":
            self.ok(op, dup)
        elif answer == "fail":
            self.fail(op)
        elif answer == "info":
            self.info(op)
        return op

    # ---- the merchant
    def deliver(
        self,
        id_,
        body="body",
        status=200,
        src="0@1",
        att="1.1",
        by="dispatcher",
        hmac="ok",
        wh="ok",
        at=None,
        ans=None,
        red=None,
    ):
        self.ledger.append(
            {
                "k": "req",
                "id": id_,
                "at": at or self.tick(),
                "sha": sha(body + id_.lower()),
                "hmac": hmac,
                "wh": wh,
                "status": status,
                "src": src,
                "att": att,
                "by": by,
                **({"ans": ans} if ans else {}),
                **({"red": red} if red else {}),
            }
        )

    def accepted_and_delivered(self, *numbers):
        for number in numbers:
            self.send(tid(number))
            self.deliver(tid(number), src=f"0@{number}")
        return self

    # ---- Postgres
    def store(self, id_, state="missing", payment=True, accepted_at=None, **more):
        self.stores[id_] = {
            "k": "store",
            "id": id_,
            "payment": payment,
            "accepted_at": accepted_at or T0 if payment else None,
            "outbox": "published",
            "partition": 0,
            "offset": 1,
            "republished": 0,
            "state": state,
            **more,
        }

    # ---- the operator
    def redeliver(self, id_, number, *, ended=True, reason="asked for by the merchant"):
        at = self.tick()
        self.redeliveries.append(
            {
                "k": "redelivery",
                "number": number,
                "id": id_,
                "at": at,
                "reason": reason,
                "before": "delivered",
                "published": at + 0.5,
                "by": "outbox-publisher",
                "partition": 1,
                "offset": number,
                "ended": at + 1 if ended else None,
                "as": "delivered" if ended else None,
            }
        )

    # ---- Postgres and Kafka side by side
    def partition(self, number=0, start=0, end=100, committed=100, metadata="", in_sync=3):
        self.crosscheck.append(
            {
                "k": "partition",
                "partition": number,
                "start": start,
                "end": end,
                "committed": committed,
                "metadata": metadata,
                "replicas": 3,
                "in_sync": in_sync,
            }
        )

    def wrong_mark(self, id_, offset=1, found="other", at=None):
        self.crosscheck.append(
            {
                "k": "marked",
                "id": id_,
                "partition": 0,
                "offset": offset,
                "at": at or T0 + 1,
                "found": found,
                "key": tid(0xFFF) if found == "other" else None,
            }
        )

    def _sources(self):
        marked = {"rows": 0, "read": 0, "older": 0, "unplaced": 0, "beyond": 0, "wrong": 0, "every": 1}
        figures = {**self.figures, "marked": {**marked, **self.figures.get("marked", {})}}
        ended = {"k": "sources", "postgres": True, "kafka": True, "topic": TOPIC, "ids": 0, "marked": marked}
        return {**ended, "open": 0, "open_complete": True, "why": [], **figures}

    # ---- the injector
    def fault(self, name="kill", target="dispatcher", at=None, ok=True, evidence=True):
        number = len([line for line in self.faults if line["k"] == "apply"]) + 1
        at = at or self.tick()
        self.faults.append(
            {"k": "apply", "fault": number, "name": name, "target": target, "at": at, "expect": "it ends"}
        )
        if evidence:
            facts = {"pid": 812, "pid_gone": ok}
            self.faults.append({"k": "evidence", "fault": number, "at": at + 0.1, "ok": ok, "facts": facts})
        return number

    def heal(self, number, at=None, ok=True):
        self.faults.append({"k": "heal", "fault": number, "at": at or self.tick(), "ok": ok, "facts": {}})

    def write(self, *, manifest=True):
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        document = {"format": 1, "run": self.run, "seed": 1, "ledger_from": self.ledger_from, "settings": {"rate": 50}}
        document |= {"started_at": T0, "topic_id": TOPIC}
        (folder / "run.json").write_text(json.dumps({**document, **self.settings}))
        end = [{"k": "end", "ops": self.ops, "at": self.tick()}] if self.ended else []
        write_chain(folder / "operations.jsonl", self.operations + end)
        write_chain(folder / "ledger.jsonl", self.ledger, first=self.ledger_from)
        if self.faults:
            write_chain(folder / "faults.jsonl", self.faults)
        if self.stores is not None:
            last = [{"k": "sources", "complete": self.stores_complete, "pruned_to": self.pruned_to}]
            write_chain(folder / "stores.jsonl", [*self.stores.values(), *last])
        if self.drain is not None:
            (folder / "drain.json").write_text(json.dumps(self.drain))
        write_chain(folder / "attempts.jsonl", self.attempts)
        if self.redeliveries:
            write_chain(folder / "redeliveries.jsonl", self.redeliveries)
        write_chain(folder / "before.jsonl", [{"k": "before", "id": id_} for id_ in self.before])
        write_chain(folder / "others.jsonl", [{"k": "other", "run": "run-0", "id": id_} for id_ in self.others])
        write_chain(folder / "earlier.jsonl", self.earlier)
        write_chain(folder / "probes.jsonl", [{"k": "probe", "at": T0, "accepted": 1, "delivered": 1}])
        if self.crosscheck is not None:
            write_chain(folder / "crosscheck.jsonl", [*self.crosscheck, self._sources()])
        if self.tracking is not None:
            write_chain(folder / "tracking.jsonl", self.tracking)
        (folder / "rejected.csv").write_text("line,reason\n")
        if manifest:
            write_manifest(folder)
        return folder
