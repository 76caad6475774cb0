"""`POST /events/batch` up to the store: what each place of a batch is told, whatever its neighbours are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.batch import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, array_body
from services.common.event import Event, InvalidEventError, canonical_bytes
from services.common.signing import Secrets
from services.ingestion_api.app import make_app
from services.ingestion_api.batch_intake import receive_batch
from services.ingestion_api.group_commit import StoreError, UnavailableError
from services.ingestion_api.intake import receive
from services.ingestion_api.refusal import RefusedError
from services.ingestion_api.request import Request
from services.ingestion_api.store import Outcome
from tests.asgi_client import AsgiClient
from tests.unit.test_api_intake import EVENT, documents

SECRETS = Secrets.parse("0123456789abcdef0123456789abcdef")
LINES = "application/x-ndjson"


def event(number=0, **changes):
    return {**EVENT, "Transaction ID": f"4d3db980-1c2e-4f5a-9b7d-{number:012x}", **changes}


def signed(body):
    return Request(body, "application/json", SECRETS.sign(body))


def received(body, content_type="application/json"):
    return receive_batch(Request(body, content_type, SECRETS.sign(body)), SECRETS)


def refusal(body, signature, content_type="application/json"):
    with pytest.raises(RefusedError) as caught:
        receive_batch(Request(body, content_type, signature), SECRETS)
    return caught.value.status, json.loads(caught.value.body)["error"]


class Store:
    """Answers for each id what `results` says, else accepts it."""

    def __init__(self):
        self.results = {}
        self.gone = False
        self.given = []

    async def submit_all(self, events):
        self.given.append(list(events))
        if self.gone:
            raise UnavailableError("gone")
        return [self.results.get(one.transaction_id, Outcome.ACCEPTED) for one in events]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def post(store):
    client = AsgiClient(make_app("api-1", SECRETS, store, lambda: True))

    def send(body, content_type="application/json"):
        headers = {"X-HMAC-Signature": SECRETS.sign(body)}
        return client.post("/events/batch", data=body, content_type=content_type, headers=headers)

    return send


@pytest.mark.parametrize("content_type", ["application/json", LINES, "application/ndjson; charset=utf-8"])
def test_each_event_has_the_canonical_bytes_that_it_has_by_itself(content_type):
    sent = [canonical_bytes(event(number, **{"Amount (INR)": number + 0.1})) for number in range(5)]
    body = array_body(sent) if content_type == "application/json" else b"\r\n\n".join(sent) + b"\n"
    alone = [receive(signed(one), SECRETS) for one in sent]
    assert received(body, content_type) == alone


def test_an_array_is_signed_as_sent_or_in_its_canonical_form():
    canonical = canonical_bytes([event(1), event(2)])
    assert canonical == array_body([canonical_bytes(event(1)), canonical_bytes(event(2))])
    other_layout = json.dumps([event(1), event(2)], indent=1, ensure_ascii=False).encode()
    for body in (canonical, other_layout):
        assert len(receive_batch(Request(body, "application/json", SECRETS.sign(canonical)), SECRETS)) == 2


@pytest.mark.parametrize("content_type", ["application/json", LINES])
@pytest.mark.parametrize("signature", [None, "0" * 64, "é" * 64, SECRETS.sign(b"")])
def test_without_a_right_signature_nothing_is_told_about_the_batch(signature, content_type):
    bodies = [canonical_bytes([event()]), b"[ ]", b"[1]", b"nonsense", b"\xff", b"[" * 5000, b'[{"a":1,"a":2}]']
    assert {refusal(body, signature, content_type)[0] for body in bodies} == {403}


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[1,", b"\xff", b"[" * 60000, b"[]"])
def test_a_genuine_body_that_is_no_batch_is_a_400_with_a_sentence(body):
    status, sentence = refusal(body, SECRETS.sign(body))
    assert (status, sentence[-1]) == (400, ".")


def test_too_many_events_and_too_many_bytes_are_413_with_their_limits(post):
    body = b"[" + b",".join([b"1"] * (MAX_BATCH_EVENTS + 1)) + b"]"
    status, sentence = refusal(body, SECRETS.sign(body))
    assert status == 413
    assert "at most 500 events, this one has 501" in sentence
    body = b"1\n" * (MAX_BATCH_EVENTS + 1)
    assert refusal(body, SECRETS.sign(body), LINES)[0] == 413
    answer = post(b" " * (MAX_BATCH_BYTES + 1))
    assert answer.status_code == 413
    assert str(MAX_BATCH_BYTES) in answer.json()["error"]


def test_a_full_batch_of_exactly_the_limit_is_read():
    found = received(array_body([canonical_bytes(event(number)) for number in range(MAX_BATCH_EVENTS)]))
    assert len({one.transaction_id for one in found}) == MAX_BATCH_EVENTS


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonx"])
def test_another_content_type_is_a_415_that_names_both(content_type):
    status, sentence = refusal(b"[]", None, content_type)
    assert status == 415
    assert "application/json or application/x-ndjson" in sentence


def test_a_bad_event_never_sinks_its_neighbours(post, store):
    twice = canonical_bytes(event(3))[:-1] + b', "Status": "SUCCESS"}'
    body = array_body(
        [
            canonical_bytes(event(1)),
            canonical_bytes(event(2, Status="MAYBE", Colour="red")),
            twice,
            b'"text"',
            canonical_bytes(event(5)).replace(b"1250.5", b"NaN"),
            canonical_bytes(event(6)),
            canonical_bytes(event(7)),
            canonical_bytes(event(8)),
            canonical_bytes(event(9)),
        ]
    )
    ids = {number: event(number)["Transaction ID"] for number in range(10)}
    store.results = {ids[6]: Outcome.DUPLICATE, ids[7]: Outcome.CONFLICT, ids[8]: StoreError("no")}
    answer = post(body)
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [201, 400, 400, 400, 400, 201, 409, 500, 201]
    assert results[0] == {"status": 201, "transaction_id": ids[1], "duplicate": False}
    assert set(results[1]["fields"]) == {"Status", "Colour"}
    assert results[2]["fields"] == {"Status": "stands more than once"}
    assert results[4]["fields"] == {"Amount (INR)": "must be finite"}
    assert results[5]["duplicate"] is True
    assert [results[place]["transaction_id"] for place in (6, 7, 8)] == [ids[7], ids[8], ids[9]]
    assert all(result["error"].endswith(".") for result in results if result["status"] != 201)


def test_a_broken_line_of_ndjson_sinks_no_other(post):
    lines = [canonical_bytes(event(1)), b"{broken", b"\xff\xfe", b"[" * 60000, canonical_bytes(event(2))]
    results = post(b"\n".join(lines), LINES).json()["results"]
    assert [result["status"] for result in results] == [201, 400, 400, 400, 201]


def test_a_batch_whose_every_event_is_accepted_is_a_201_and_goes_to_the_store_at_once(post, store):
    answer = post(array_body([canonical_bytes(event(number)) for number in range(50)]))
    assert answer.status_code == 201
    assert list(map(len, store.given)) == [50]


def test_a_batch_without_a_valid_event_does_not_trouble_the_store(post, store):
    assert post(b"[1, 2]").status_code == 207
    assert store.given == []


def test_with_postgres_away_the_batch_as_a_whole_is_to_be_sent_again(post, store):
    store.gone = True
    answer = post(array_body([canonical_bytes(event(1)), b"1"]))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_events_of_which_nothing_is_known_are_told_so_one_by_one(post, store):
    store.results = {event(2)["Transaction ID"]: UnavailableError("gone")}
    results = post(canonical_bytes([event(1), event(2)])).json()["results"]
    assert [result["status"] for result in results] == [201, 503]
    assert "Send it again" in results[1]["error"]


@given(st.lists(st.tuples(documents, st.booleans()), min_size=1, max_size=8))
def test_whatever_stands_in_a_batch_each_is_judged_as_it_is_alone(given_documents):
    sent = [document if keep else event(number) for number, (document, keep) in enumerate(given_documents)]
    for one, found in zip(sent, received(json.dumps(sent).encode()), strict=True):
        body = json.dumps(one).encode()
        try:
            alone = receive(signed(body), SECRETS)
        except RefusedError as refused:
            assert isinstance(found, InvalidEventError)
            assert found.fields == json.loads(refused.body)["fields"]
        else:
            assert isinstance(found, Event)
            assert found == alone
