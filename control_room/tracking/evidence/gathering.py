"""Gathering a run's evidence: the ledger over HTTP, the stores from Postgres, and last the manifest that seals it all.

Failure policy: closed. A source that does not answer leaves its file out, or says that it is not complete; the verdict
is then UNKNOWN where that file was needed. Nothing is made up, and nothing of an earlier gathering stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence.crosscheck import CrossCheck
from control_room.tracking.evidence.kafka_claims import CLAIMS, contradictions
from control_room.tracking.evidence.kafka_log import KafkaLog
from control_room.tracking.evidence.ledger_pages import LedgerPage, LedgerSource
from control_room.tracking.evidence.operation_tail import ACKED, FRESH, REFUSED, SILENT, OperationTail
from control_room.tracking.evidence.others import earlier_lines, ids_in, sent_by_others
from control_room.tracking.evidence.run_document import ledger_from, run_document
from control_room.tracking.evidence.stores_sql import CHUNK_IDS, StoreReader, StoreRow
from control_room.tracking.parts import SourceError
from control_room.verify.durable import whole_file
from control_room.verify.files import (
    ATTEMPTS,
    BEFORE,
    CROSSCHECK,
    EARLIER,
    LEDGER,
    MANIFEST,
    OPERATIONS,
    OTHERS,
    REDELIVERIES,
    STORES,
)
from control_room.verify.manifest import write_manifest
from services.common.chain import ChainWriter

PATIENCE_S: Final = 30.0
"""How long a source may be silent before its evidence is given up."""
TOPIC_PATIENCE_S: Final = 10.0
"""How long a topic that Kafka does not know may be missing: a Kafka that was made anew gets it from the services,
seconds after its brokers answer."""
_PAUSE_S: Final = 0.25

Narrate = Callable[[str], None]


@dataclass(slots=True)
class Gathered:
    """What was gathered, and what could not be."""

    ledger_lines: int = 0
    store_lines: int = 0
    attempts: int = 0
    gaps: list[str] = field(default_factory=list)
    """One sentence per source that did not answer."""


@dataclass(slots=True)
class _Window:
    """Ids in the run's part of the ledger."""

    seen: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)


def gather(
    endpoints: Endpoints, run_dir: Path, narrate: Narrate = lambda _: None, *, patience_s: float = PATIENCE_S
) -> Gathered:
    """Writes ledger, stores, attempts, redeliveries, others, earlier and crosscheck .jsonl of a run, and manifest.json.

    Raises:
        SourceError: `run_dir` is not the folder of a run.
        OSError: it cannot be written to.
    """
    first_line = ledger_from(run_dir)
    for name in (MANIFEST, LEDGER, STORES, ATTEMPTS, OTHERS, EARLIER, CROSSCHECK, REDELIVERIES):
        (run_dir / name).unlink(missing_ok=True)
    gathered = Gathered()
    told = _told(run_dir)
    ledger = LedgerSource(endpoints.merchant_url, timeout_s=10.0)
    stores = StoreReader(endpoints.postgres_conninfo, deadline_s=10.0, patience_s=patience_s)
    log = KafkaLog(endpoints, topic_patience_s=min(TOPIC_PATIENCE_S, patience_s))
    try:
        _write_redeliveries(stores, run_dir, told, gathered)  # before the ledger: those that ended by now stand in it
        narrate("copying the ledger")
        window = _copy_ledger(ledger, run_dir, first_line, gathered, patience_s if ledger.exists else 0.0)
        narrate("asking Postgres about open and unanswered ids")
        crosscheck = CrossCheck(log, run_document(run_dir).get("topic_id"))
        stored = _write_stores(stores, crosscheck, run_dir, told, window, gathered)
        _write_outside(ledger, run_dir, told, window, stored, gathered, first_line)
        narrate("exporting delivery attempts")
        _write_attempts(stores, run_dir, told, gathered)
        narrate("comparing Postgres with Kafka")
        if not crosscheck.asked:
            crosscheck.ask_kafka(told)
        crosscheck.write(endpoints, stores, run_dir, _taken(told))
        if crosscheck.gaps:
            gathered.gaps.append(f"{CROSSCHECK} is not complete: {'; '.join(crosscheck.gaps)}.")
    finally:
        ledger.close()
        stores.close()
        log.close()
    narrate("sealing the evidence")
    write_manifest(run_dir)
    return gathered


def _told(run_dir: Path) -> dict[str, int]:
    """What each id of the run was told (flags of Told); a send without a line after it had no answer."""
    told: dict[str, int] = {}
    tail = OperationTail(run_dir / OPERATIONS)
    for transaction_id, flags in tail.news():
        told[transaction_id] = told.get(transaction_id, 0) | flags
    for transaction_id in tail.unanswered():
        told[transaction_id] = told.get(transaction_id, 0) | SILENT
    return told


def _copy_ledger(
    ledger: LedgerSource, run_dir: Path, first_line: int, gathered: Gathered, patience_s: float
) -> _Window:
    window = _Window()
    try:
        with whole_file(run_dir / LEDGER) as file:
            gathered.ledger_lines = _copy_pages(ledger, file, first_line, window, patience_s)
    except SourceError as error:
        gathered.gaps.append(f"{LEDGER} could not be copied: {error}.")
    return window


def _copy_pages(ledger: LedgerSource, file: BinaryIO, first_line: int, window: _Window, patience_s: float) -> int:
    """Copies raw lines up to the length that the ledger had at the first page; their number."""
    line, end = first_line, None
    while end is None or line < end:
        page = _patiently(ledger, line, patience_s)
        if end is None:
            end = page.total_lines
            if end < first_line:
                raise SourceError(f"the ledger has {end} lines, but the run began at line {first_line}")
        if not page.body and line < end:
            raise SourceError(f"the ledger gave no line {line} of {end}")
        file.write(page.body)
        _note(page.lines, window)
        line = page.next_line
    return line - first_line


def _patiently(ledger: LedgerSource, line: int, patience_s: float) -> LedgerPage:
    until_s = time.monotonic() + patience_s
    while True:
        try:
            return ledger.page(line)
        except SourceError:
            if time.monotonic() >= until_s:
                raise
            time.sleep(_PAUSE_S)


def _note(lines: list[bytes], window: _Window) -> None:
    for raw in lines:
        try:
            record = orjson.loads(raw)
            if record["k"] != "req":
                continue
            transaction_id, status = record["id"].lower(), record["status"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # failure policy: the copy keeps the line as it is, and the verdict will find it damaged
        window.seen.add(transaction_id)
        if 200 <= status < 300:
            window.delivered.add(transaction_id)


def _taken(told: dict[str, int]) -> list[str]:
    """The ids that the pipeline may have taken: all but those that were refused alone."""
    return [id_ for id_, flags in told.items() if flags & (ACKED | SILENT) or not flags & REFUSED]


def _write_stores(
    stores: StoreReader,
    crosscheck: CrossCheck,
    run_dir: Path,
    told: dict[str, int],
    window: _Window,
    gathered: Gathered,
) -> set[str]:
    """Lines for ids that are open, had no answer, or lack a row that they must have; the ids that have a payment.

    An id that claims to be open, and of which Kafka shows otherwise, has a second line that says so.
    """
    stored: set[str] = set()
    claimants: list[str] = []
    complete, pruned_to = True, None
    with whole_file(run_dir / STORES) as file:
        writer = ChainWriter()
        try:
            for row in _rows_in_question(stores, told, window):
                if row.payment:
                    stored.add(row.transaction_id)
                if row.state in CLAIMS and row.transaction_id not in window.delivered:
                    claimants.append(row.transaction_id)
                file.write(writer.line(row.record()))
                gathered.store_lines += 1
            crosscheck.ask_kafka(told)  # after the rows above, and before they are asked about once more
            if crosscheck.witness is not None and not crosscheck.made_anew:
                for row, state in contradictions(claimants, stores, crosscheck.witness):
                    file.write(writer.line({**row.record(), "state": state}))
            pruned_to = stores.pruned_to()  # last: what was found missing had been pruned by now
        except SourceError as error:
            complete = False
            gathered.gaps.append(f"{STORES} is not complete: {error}.")
            crosscheck.postgres = False
        sources = {"complete": complete, "at": round(time.time(), 6), "pruned_to": pruned_to}
        file.write(writer.line({"k": "sources", **sources}))
    return stored


def _rows_in_question(stores: StoreReader, told: dict[str, int], window: _Window) -> Iterator[StoreRow]:
    for chunk in _chunks(_taken(told)):
        plain = [id_ for id_ in chunk if id_ in window.delivered and told[id_] & ACKED]
        asked = set(chunk).difference(plain).union(stores.without_rows(plain))
        yield from stores.rows([id_ for id_ in chunk if id_ in asked])


def _write_outside(
    ledger: LedgerSource,
    run_dir: Path,
    told: dict[str, int],
    window: _Window,
    stored: set[str],
    gathered: Gathered,
    first_line: int,
) -> None:
    """Writes whose the ledger's other ids are, and which of this run's ids the merchant had before it."""
    strangers = window.seen.difference(told, ids_in(run_dir / BEFORE))
    others = sent_by_others(run_dir, strangers)
    _write_lines(run_dir / OTHERS, ({"k": "other", "run": run, "id": id_} for id_, run in others.items()))
    wanted = strangers.difference(others)
    for transaction_id, flags in told.items():
        if transaction_id in window.delivered:
            continue
        only_duplicate = flags & ACKED and not flags & FRESH
        if only_duplicate or (transaction_id in stored and not flags & ACKED):
            wanted.add(transaction_id)
    wanted.update(id_ for id_ in window.delivered if told.get(id_, 0) == REFUSED)
    try:
        _write_lines(run_dir / EARLIER, earlier_lines(ledger, first_line, wanted))
    except SourceError as error:
        gathered.gaps.append(f"{EARLIER} could not be made: {error}.")


def _write_attempts(stores: StoreReader, run_dir: Path, told: dict[str, int], gathered: Gathered) -> None:
    def lines() -> Iterator[dict[str, Any]]:
        for chunk in _chunks(list(told)):
            for record in stores.attempts(chunk):
                gathered.attempts += 1
                yield record

    try:
        _write_lines(run_dir / ATTEMPTS, lines())
    except SourceError as error:
        gathered.gaps.append(f"{ATTEMPTS} could not be exported: {error}.")


def _write_redeliveries(stores: StoreReader, run_dir: Path, told: dict[str, int], gathered: Gathered) -> None:
    try:
        lines = (line for chunk in _chunks(list(told)) for line in stores.redeliveries(chunk))
        _write_lines(run_dir / REDELIVERIES, lines)
    except SourceError as error:
        gathered.gaps.append(f"{REDELIVERIES} could not be exported: {error}.")


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, CHUNK_IDS)):
        yield chunk


def _write_lines(path: Path, records: Iterator[dict[str, Any]]) -> None:
    writer = ChainWriter()
    with whole_file(path) as file:
        for record in records:
            file.write(writer.line(record))
