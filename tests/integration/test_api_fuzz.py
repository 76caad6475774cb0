"""`POST /events` of the real process over real Postgres, given whatever: no unforeseen answer, every 201 stored."""

import http.client
import json
import uuid

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.common.event import COLUMNS, canonical_bytes
from tests.integration.fixtures_api import SECRETS, event

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_api"]


def fuzzed(examples):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=quiet)


GOOD = {
    "Transaction ID": st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper()),
    "Timestamp": st.datetimes().map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}".rjust(19, "0")),
    "Sender Name": st.sampled_from(
        ["Zoë", "आरव शर्मा", 'O\'Hara "X", Ltd', "x" * 200, "\U0001f600", "a\u2028b", "NULL"]
    ),
    "Sender UPI ID": st.sampled_from(["a@b", "zoe.iyer-1@okbank", "é@ü", "x" * 251 + "@b.c"]),
    "Receiver Name": st.sampled_from(["{}", "\\", "%s", " padded "]),
    "Receiver UPI ID": st.sampled_from(["aarav@okbank", "'@\""]),
    "Amount (INR)": st.integers(1, 10**15 - 1)
    | st.floats(1e-6, 9e14)
    | st.decimals("0.000001", "99999999999999", places=6).map(str)
    | st.sampled_from(["12.50", "1e3", "+7", ".5", "5."]),
    "Status": st.sampled_from(["SUCCESS", "FAILED"]),
}
BAD_FOR_ALL = st.sampled_from([None, True, [], {}, "", " ", "\x00", "\ud800", [float("nan")], {"Status": "FAILED"}])
BAD_TEXT = BAD_FOR_ALL | st.sampled_from([5, float("inf"), "a\x1bb", "x" * 300])
BAD_UPI = BAD_TEXT | st.sampled_from(["zoe", "@", "a@b@c", "a b@c"])
BAD = {
    "Transaction ID": BAD_TEXT | st.text(max_size=36),
    "Timestamp": BAD_TEXT
    | st.sampled_from(["2024-02-30 00:00:00", "2024-01-31T10:00:00", "0000-01-01 00:00:00", "now"]),
    "Sender Name": BAD_TEXT,
    "Sender UPI ID": BAD_UPI,
    "Receiver Name": BAD_TEXT,
    "Receiver UPI ID": BAD_UPI,
    "Amount (INR)": BAD_FOR_ALL
    | st.integers(max_value=0)
    | st.integers(min_value=10**15)
    | st.sampled_from([float("nan"), float("-inf"), "NaN", "Infinity", "1,5", "1_0", "٣", "1e999", "9" * 65, 1e-30]),
    "Status": BAD_TEXT | st.sampled_from(["success", "PENDING"]),
}


@st.composite
def bodies(draw):
    """The text of a JSON object near an event, and the names of all its faulty fields."""
    pairs, faulty = [], set()
    for column in draw(st.permutations(COLUMNS)):
        kind = draw(st.sampled_from(["good"] * 20 + ["bad", "missing", "twice"]))
        if kind != "good":
            faulty.add(column)
        if kind != "missing":
            pairs.append((column, draw(BAD[column] if kind == "bad" else GOOD[column])))
        if kind == "twice":
            pairs.insert(draw(st.integers(0, len(pairs))), (column, draw(GOOD[column] | BAD[column])))
    others = st.text(st.characters(exclude_categories=()), max_size=10).filter(lambda name: name not in COLUMNS)
    for name in draw(st.sets(others, max_size=2) if draw(st.integers(0, 3)) == 0 else st.just(set())):
        faulty.add(name)
        pairs.append((name, draw(st.none() | st.floats() | st.text(max_size=3))))
    ascii_only = any("\\ud" in json.dumps(pair).lower() for pair in pairs) or draw(st.booleans())
    gap = draw(st.sampled_from(["", " ", "\n\t"]))
    members = [f"{json.dumps(key, ensure_ascii=ascii_only)}:{gap}{json.dumps(value, ensure_ascii=ascii_only)}"
               for key, value in pairs]  # fmt: skip
    return ("{" + gap + f",{gap}".join(members) + gap + "}").encode(), faulty


class Caller:
    """One kept connection to the API; `post` gives status, answer and headers."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def post(self, body, signature, content_type="application/json"):
        headers = {"Content-Type": content_type} if content_type is not None else {}
        if signature is not None:
            headers["X-HMAC-Signature"] = signature
        self._connection.request("POST", "/events", body, headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def close(self):
        self._connection.close()


@pytest.fixture
def api(process, database):
    """A caller; at the end what was acknowledged, and nothing else, lies in both tables byte for byte."""
    caller = Caller(process.port)
    caller.acknowledged = {}
    yield caller
    caller.close()
    stored = database.execute(
        "SELECT p.transaction_id::text, p.canonical FROM payments p JOIN outbox_events o USING (transaction_id)"
    ).fetchall()
    assert dict(stored) == caller.acknowledged
    for table in ("payments", "outbox_events"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == len(caller.acknowledged)
    said = process.log_text()
    assert "Traceback" not in said
    assert "Logging error" not in said


def settled(api, body, status, answer):
    """Notes what was acknowledged; anything but a foreseen answer fails."""
    assert status in (201, 400, 409), answer
    if status == 201:
        document = json.loads(body)
        key = document["Transaction ID"].lower()
        assert answer["transaction_id"] == key
        assert answer["duplicate"] is (key in api.acknowledged)
        assert api.acknowledged.setdefault(key, canonical_bytes(document)) == canonical_bytes(document)
    else:
        assert answer["error"].endswith(".")


@fuzzed(400)
@given(bodies(), st.booleans())
def test_an_event_is_accepted_or_refused_with_exactly_its_faulty_fields(api, made, sign_as_sent):
    body, faulty = made
    signed = body if sign_as_sent else canonical_bytes(json.loads(body))
    status, answer = api.post(body, SECRETS.sign(signed))
    settled(api, body, status, answer)
    if status == 400:
        assert set(answer["fields"]) == faulty
    assert (status == 400) == bool(faulty)


@fuzzed(200)
@given(st.binary(max_size=300), st.sampled_from(["right", "none", "wrong"]))
def test_bytes_at_random_are_a_400_when_genuine_and_else_a_403(api, body, signature):
    header = {"right": SECRETS.sign(body), "none": None, "wrong": "0" * 64}[signature]
    status, answer = api.post(body, header)
    assert status == (400 if signature == "right" else 403), answer
    assert answer["error"].endswith(".")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@fuzzed(200)
@given(json_values | st.dictionaries(st.sampled_from(COLUMNS), json_values))
def test_any_json_is_a_400_that_names_every_column_it_lacks(api, value):
    body = json.dumps(value).encode()
    status, answer = api.post(body, SECRETS.sign(body))
    settled(api, body, status, answer)
    if isinstance(value, dict):
        assert set(COLUMNS) - value.keys() <= answer["fields"].keys()


@fuzzed(300)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["flip", "cut", "add", "end"]), st.integers(1, 255)),
                max_size=4))  # fmt: skip
def test_an_event_damaged_byte_by_byte_is_never_a_500(api, damages):
    body = bytearray(canonical_bytes(event(str(uuid.uuid4()))))
    for place, kind, number in damages:
        at = place % max(1, len(body))
        if kind == "flip" and body:
            body[at] ^= number
        elif kind == "add":
            body.insert(at, number)
        elif kind == "cut":
            del body[at : at + 1]
        else:
            del body[at:]
    status, answer = api.post(bytes(body), SECRETS.sign(bytes(body)))
    settled(api, body, status, answer)


@fuzzed(150)
@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=70),
    st.none() | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
)
def test_headers_at_random_are_a_403_or_a_415(api, signature, content_type):
    body = canonical_bytes(event())
    assume(signature.strip() != SECRETS.sign(body))
    assert api.post(body, signature)[0] == 403
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        assert api.post(body, SECRETS.sign(body), content_type)[0] == 415
