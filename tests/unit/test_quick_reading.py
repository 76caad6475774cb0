"""The log and the ledger are read by the block while a run is on: that says what each line by itself says."""

import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_room.tracking.evidence import ledger_pages, operation_tail
from control_room.tracking.evidence.ledger_pages import LedgerPage
from control_room.tracking.evidence.operation_tail import (
    ACKED,
    DELIVERED,
    EARLIER,
    FRESH,
    NEW,
    REFUSED,
    SILENT,
    OperationTail,
)
from control_room.tracking.evidence.standing import Standing, arrived
from services.common.chain import ChainWriter
from services.common.signing import Secrets
from services.merchant_server.examination import examine

OPERATIONS = st.integers(0, 5)
IDS = st.uuids().map(str) | st.uuids().map(lambda found: str(found).upper()) | st.text(max_size=40)
AT = st.floats(0, 2e9).map(lambda at_s: round(at_s, 6))
SENDING = {"try": 1, "at": 1.5, "due": 1.5, "sha": "0" * 64, "row": 2}
TOLD = st.one_of(
    st.builds(lambda op, id_, at: {"k": "invoke", "op": op, "id": id_, **SENDING, "at": at}, OPERATIONS, IDS, AT),
    st.builds(
        lambda op, at, status, dup: {"k": "ok", "op": op, "at": at, "status": status, "dup": dup, "by": "api"},
        OPERATIONS, AT, st.sampled_from([200, 201]), st.booleans(),
    ),
    st.builds(lambda op, at: {"k": "fail", "op": op, "at": at, "status": 422}, OPERATIONS, AT),
    st.builds(lambda op, at: {"k": "info", "op": op, "at": at, "why": "reset"}, OPERATIONS, AT),
    st.builds(lambda at: {"k": "end", "ops": 6, "at": at}, AT),
)  # fmt: skip
DELIVERIES = st.builds(
    lambda kind, id_, at, sha, status: {
        "k": kind, "id": id_, "at": at, "sha": sha, "hmac": "ok", "wh": "stale", "status": status, "src": "0@1",
        "att": "1.1", "by": "dispatcher",
    },
    st.sampled_from(["req", "req", "start"]), IDS, AT, st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.sampled_from([200, 299, 300, 500, 0, -1]),
)  # fmt: skip


def lines_of(records):
    """Lines of a file, of which some have broken off, or are none of ours."""
    chain = ChainWriter()
    lines = records.map(chain.line)
    broken = st.builds(lambda line, at: line[: at % len(line)].replace(b"\n", b""), lines, st.integers(0, 400))
    return st.lists(st.one_of(lines, lines, lines, broken, st.sampled_from([b"\n", b"{}\n", b"[1]\n", b"null\n"])))


def as_json(line):
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@settings(deadline=None)
@given(lines_of(TOLD))
def test_a_log_read_by_the_block_says_what_its_lines_say(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "operations.jsonl"
    content = b"".join(lines)
    path.write_bytes(content)
    pending, wanted, ended = {}, [], False
    for line in content.split(b"\n")[:-1]:
        if not (record := as_json(line)) or "k" not in record:
            continue
        ended = record["k"] == "end"
        if record["k"] == "invoke":
            pending[record["op"]] = record["id"].lower()
        elif not ended and (known := pending.pop(record["op"], None)) is not None:
            acked = ACKED if record.get("dup") else ACKED | FRESH
            wanted.append((known, {"fail": REFUSED, "info": SILENT}.get(record["k"], acked)))
    tail = OperationTail(path)
    assert list(tail.news()) == wanted
    assert (tail.unanswered(), tail.ended) == (list(pending.values()), ended)


@settings(deadline=None)
@given(lines_of(DELIVERIES))
def test_a_page_of_the_ledger_says_what_its_lines_say(lines):
    body = b"".join(lines)
    body = body[: body.rfind(b"\n") + 1]
    records = [as_json(line) for line in body.split(b"\n")]
    wanted = [each["id"].lower() for each in records if each.get("k") == "req" and 200 <= each["status"] < 300]
    assert LedgerPage(body, 0, 0).delivered_ids() == [each for each in wanted if each]


def test_the_lines_that_are_written_most_are_not_taken_apart_one_by_one(tmp_path, monkeypatch):
    transaction_id = str(uuid.uuid4())
    told = [{"k": "invoke", "op": 0, "id": transaction_id, **SENDING}]
    told += [{"k": "ok", "op": 0, "at": 2.5, "status": 201, "dup": False, "by": "ingestion-api-1"}]
    log = ChainWriter()
    path = tmp_path / "operations.jsonl"
    path.write_bytes(b"".join(map(log.line, told)))
    body = json.dumps({"Transaction ID": transaction_id}).encode()
    delivery = examine(body, {}, Secrets.parse("a-secret-of-more-than-enough-bytes"), 1.5) | {"status": 200}
    page = LedgerPage(ChainWriter().line(delivery), 1, 1)
    for module in (operation_tail, ledger_pages):
        monkeypatch.setattr(module.orjson, "loads", pytest.fail)
    assert list(OperationTail(path).news()) == [(transaction_id, ACKED | FRESH)]
    assert page.delivered_ids() == [transaction_id]


def test_an_id_that_is_no_text_is_passed_over(tmp_path):
    wrong, line = b"\xff" * 36, ChainWriter().line({"k": "invoke", "op": 0, "id": "i" * 36, **SENDING})
    path = tmp_path / "operations.jsonl"
    path.write_bytes(line.replace(b"i" * 36, wrong))
    tail = OperationTail(path)
    assert (list(tail.news()), tail.unanswered()) == ([], [])
    delivery = {"k": "req", "id": "i" * 36, "at": 1.5, "sha": "0" * 64, "hmac": "ok", "wh": "ok", "status": 200}
    body = ChainWriter().line(delivery | {"src": "0@1", "att": "1.1", "by": "dispatcher"})
    assert LedgerPage(body, 1, 1).delivered_ids() == ["i" * 36]
    assert LedgerPage(body.replace(b"i" * 36, wrong), 1, 1).delivered_ids() == []


FEW = st.sampled_from(["a", "b", "c"])
HEARD = st.tuples(FEW, st.sampled_from([ACKED | FRESH, ACKED, SILENT, REFUSED]))
CAME = st.tuples(FEW, st.sampled_from([DELIVERED, EARLIER]))


def known_of(standing):
    """All that a standing tells."""
    flags = {each: standing.told.add(each, 0) for each in ("a", "b", "c")}
    counts = standing.accepted, standing.delivered, standing.duplicated, standing.duplicates_acknowledged
    return counts, standing.open, standing.silent, flags


EARLIER_EVENTS = st.lists(st.one_of(HEARD, CAME.filter(lambda event: event[1] == DELIVERED)), max_size=8)


@given(EARLIER_EVENTS, st.lists(FEW, unique=True), st.lists(FEW, max_size=6))
def test_answers_and_deliveries_taken_together_say_what_they_say_one_by_one(before, answered, delivered):
    together, apart = Standing(), Standing()
    for standing in (together, apart):
        for transaction_id, flags in before:
            if flags == DELIVERED:
                standing.deliver(transaction_id)
            else:
                standing.hear(transaction_id, flags)
    fresh = dict.fromkeys(answered)
    together.deliver_all(delivered, fresh)
    assert list(fresh) == [each for each in answered if each not in delivered], "in their order, for whom to ask about"
    for transaction_id in fresh:
        together.hear(transaction_id, NEW)
    for transaction_id in answered:
        apart.hear(transaction_id, NEW)
    for transaction_id in delivered:
        apart.deliver(transaction_id)
    assert known_of(together) == known_of(apart)


@given(st.lists(st.tuples(st.booleans(), HEARD, CAME), max_size=30))
def test_where_each_id_stands_follows_from_what_was_told_of_it_in_whatever_order(events):
    standing, told, times = Standing(), {}, {}
    for is_answer, (heard, flags), (came, where) in events:
        if is_answer:
            standing.hear(heard, flags)
            told[heard] = told.get(heard, 0) | flags
        else:
            standing.deliver(came, where)
            told[came] = told.get(came, 0) | where
            times[came] = times.get(came, 0) + (where == DELIVERED)
    acked = {each for each, flags in told.items() if flags & ACKED}
    there = {each for each, flags in told.items() if arrived(flags)}
    assert (standing.accepted, standing.delivered) == (len(acked), len(acked & there))
    assert set(standing.open) == acked - there
    assert set(standing.silent) == {each for each in told if told[each] & SILENT} - acked - there
    sent = {each for each, flags in told.items() if flags & (ACKED | SILENT | REFUSED)}
    assert standing.duplicated == sum(times.get(each, 0) > 1 for each in sent)
