"""The checker against an oracle that knows nothing of it: tiny random histories, judged by brute force."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control_room.verify import check
from tests.unit.histories import History, tid

IDS = [tid(number) for number in range(3)]
ids = st.sampled_from(IDS)
bodies = st.sampled_from(["one", "two"])
sends = st.lists(st.tuples(ids, bodies, st.sampled_from(["ok", "ok-dup", "fail", "info", "cut"])), max_size=5)
lines = st.lists(
    st.tuples(
        ids,
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([200, 200, 200, 500, -1]),
        st.sampled_from(["ok", "ok", "ok", "bad"]),
    ),
    max_size=5,
)
states = st.sampled_from(
    [
        *("outbox", "in-kafka", "retrying", "requeued", "delivered", "dead", "missing", "no-payment", "no-line"),
        *("skipped", "vanished", "nowhere"),
    ]
)
stores = st.fixed_dictionaries(dict.fromkeys(IDS, states))
earlier = st.lists(st.tuples(ids, bodies), max_size=1)
others = st.lists(ids, max_size=1)
GIVEN_UP = {"skipped", "vanished", "nowhere"}
PENDING = {"outbox", "in-kafka", "retrying", "requeued"}


def oracle(id_, case):
    """One id's class, from the definitions alone."""
    asked = [(body, answer) for sent, body, answer in case["sends"] if sent == id_]
    came = [(body, hmac) for got, body, status, hmac in case["lines"] if got == id_ and status == 200]
    seen = any(got == id_ for got, *_ in case["lines"])
    before = [body for had, body in case["earlier"] if had == id_]
    state = case["stores"][id_]
    foreign = bool(before) or id_ in case["others"]
    if not asked:
        if not seen:
            return None
        if foreign:
            return "foreign"
        return "phantom" if case["ended"] else "unknown"
    acked = {body for body, answer in asked if answer.startswith("ok")}
    maybe = {body for body, answer in asked if answer in ("info", "cut")}
    if came:
        allowed = acked or maybe
        wrong = any(body not in allowed for body, _ in came)
        if not acked and not maybe:
            return "foreign" if foreign else "leaked" if case["ended"] else "unknown"
        if wrong and not acked and foreign:
            return "foreign"
        if wrong:
            return "corrupt" if case["ended"] else "unknown"
        if any(hmac == "bad" for _, hmac in came):
            return "bad-signature"
        if acked - {body for body, _ in came}:
            return "lost"
        if state == "no-payment":
            return "phantom"
        return "delivered" if acked else "recovered"
    if not acked and not maybe:
        return "refused"
    known = case["complete"] and state != "no-line"
    if acked:
        new = any(answer == "ok" for _, answer in asked)
        if before and not new and acked <= set(before):
            return "earlier"
        if case["drain"] is None:
            return "unknown"
        if case["drain"] == "complete":
            return "lost"
        if not known:
            return "unknown"
        return "late" if state in PENDING else "lost"
    if not known:
        return "unknown"
    if state == "no-payment":
        return "unanswered"
    if before:
        return "earlier"
    if case["drain"] is None:
        return "unknown"
    return "late" if case["drain"] == "deadline" and state in PENDING else "stranded"


def expected_exit(found, case):
    accepted = any(answer.startswith("ok") for *_, answer in case["sends"])
    if {"lost", "phantom", "leaked", "stranded", "corrupt", "bad-signature"} & set(found):
        return 10
    taken = {id_ for id_, _, answer in case["sends"] if answer != "fail"}
    arrived = {id_ for id_, _, status, _ in case["lines"] if status == 200}
    if any(case["stores"][id_] in GIVEN_UP for id_ in taken - arrived):
        return 10
    if "unknown" in found or not accepted or not case["ended"] or case["drain"] is None:
        return 12
    return 11 if "late" in found or case["drain"] == "deadline" else 0


def build(folder, case):
    history = History(folder, ledger_from=0)
    for id_, body, answer in case["sends"]:
        operation = history.invoke(id_, body)
        if answer.startswith("ok"):
            history.ok(operation, dup=answer == "ok-dup")
        elif answer == "fail":
            history.fail(operation)
        elif answer == "info":
            history.info(operation)
    for id_, body, status, hmac in case["lines"]:
        history.deliver(id_, body, status, hmac=hmac)
    for id_, state in case["stores"].items():
        if state != "no-line":
            history.store(id_, "missing" if state == "no-payment" else state, payment=state != "no-payment")
    for id_, body in case["earlier"]:
        history.deliver(id_, body)
        history.earlier.append({**history.ledger.pop(), "k": "earlier", "line": 0})
    history.others = case["others"]
    history.ended = case["ended"]
    history.stores_complete = case["complete"]
    history.drain = case["drain"] and {"ended": case["drain"], "ended_at": history.clock + 1000, "ledger_next": 0}
    return history


cases = st.fixed_dictionaries(
    {
        "sends": sends,
        "lines": lines,
        "stores": stores,
        "earlier": earlier,
        "others": others,
        "ended": st.sampled_from([True, True, True, False]),
        "complete": st.sampled_from([True, True, False]),
        "drain": st.sampled_from(["complete", "complete", "deadline", None]),
    }
)


@settings(max_examples=400, deadline=None)
@given(cases)
def test_the_checker_agrees_with_the_oracle_on_every_class(case):
    with tempfile.TemporaryDirectory() as scratch:
        verdict = check(build(Path(scratch) / "run", case).write())
        found = [oracle(id_, case) for id_ in IDS]
        assert {row.transaction_id: row.outcome.value for row in verdict.deliveries} == {
            id_: name for id_, name in zip(IDS, found, strict=True) if name
        }
        assert verdict.exit_code == expected_exit(found, case)
        arithmetic = verdict.arithmetic.to_json()
        accepted = len({id_ for id_, _, answer in case["sends"] if answer.startswith("ok")})
        names = ("delivered", "outbox", "kafka", "in_flight", "retrying", "requeued", "dead", "unaccounted")
        assert arithmetic["accepted"] == accepted == sum(arithmetic[name] for name in names)
        assert arithmetic["unaccounted"] >= 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.data())
def test_a_ledger_line_taken_away_from_an_id_delivered_once_is_never_green(count, data):
    with tempfile.TemporaryDirectory() as scratch:
        history = History(Path(scratch) / "run").accepted_and_delivered(*range(count))
        assert check(history.write()).exit_code == 0
        del history.ledger[data.draw(st.integers(0, count - 1))]
        verdict = check(history.write())
        assert (verdict.exit_code, verdict.classes["lost"]) == (10, 1)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_single_changed_byte_of_the_evidence_stays_green(data):
    with tempfile.TemporaryDirectory() as scratch:
        folder = History(Path(scratch) / "run").accepted_and_delivered(1, 2).write()
        path = folder / data.draw(
            st.sampled_from(["operations.jsonl", "ledger.jsonl", "run.json", "drain.json", "stores.jsonl"])
        )
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert check(folder).exit_code == 12
