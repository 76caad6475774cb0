import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.event import COLUMNS, InvalidEventError, canonical_bytes, parse_body, validate
from services.common.signing import Secrets
from services.ingestion_api.intake import receive
from services.ingestion_api.refusal import RefusedError
from services.ingestion_api.request import Request, read_request

SECRETS = Secrets.parse("0123456789abcdef0123456789abcdef, fedcba9876543210fedcba9876543210")
EVENT = {
    "Transaction ID": "4D3DB980-1c2e-4f5a-9b7d-0a1b2c3d4e5f",
    "Timestamp": "2024-02-29 23:59:59",
    "Sender Name": 'Zoë "Z", Iyer',
    "Sender UPI ID": "zoe@okbank",
    "Receiver Name": "आरव शर्मा",
    "Receiver UPI ID": "aarav@okbank",
    "Amount (INR)": 1250.5,
    "Status": "SUCCESS",
}


def request(body, signature=None, content_type="application/json"):
    return Request(body, content_type, signature)


def refusal(*args, **kwargs):
    with pytest.raises(RefusedError) as caught:
        receive(request(*args, **kwargs), SECRETS)
    return caught.value.status, json.loads(caught.value.body)


def signed(body):
    return request(body, SECRETS.sign(body))


def test_a_body_signed_as_sent_is_accepted_and_kept_in_canonical_form():
    event = receive(signed(canonical_bytes(EVENT)), SECRETS)
    assert event.canonical == canonical_bytes(EVENT)
    assert event.transaction_id == EVENT["Transaction ID"].lower()


def test_a_signature_over_the_canonical_form_covers_another_layout():
    body = json.dumps(EVENT, indent=2, ensure_ascii=False).encode()
    event = receive(request(body, SECRETS.sign(canonical_bytes(EVENT))), SECRETS)
    assert event.canonical == canonical_bytes(EVENT)


def test_every_listed_secret_verifies():
    body = canonical_bytes(EVENT)
    assert receive(request(body, Secrets((SECRETS.keys[1],)).sign(body)), SECRETS).status == "SUCCESS"


@pytest.mark.parametrize("signature", [None, "", "0" * 64, "é" * 64, "0" * 63, "A" * 6400])
def test_without_a_right_signature_nothing_is_told_about_the_body(signature):
    answers = {
        str(refusal(body, signature)) for body in (canonical_bytes(EVENT), b"{}", b"nonsense", b"\xff", b"[" * 5000)
    }
    assert len(answers) == 1
    assert "403" in answers.pop()


def test_an_upper_case_signature_is_wrong():
    body = canonical_bytes(EVENT)
    assert refusal(body, SECRETS.sign(body).upper())[0] == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"nope", b"[]", b"null", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1, "a": 2}', b"\xff\xfe", b"[" * 60000,
     b'{"a": ' + b"9" * 5000 + b"}"],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_a_genuine_body_that_is_no_json_object_is_answered_400(body):
    status, answer = refusal(body, SECRETS.sign(body))
    assert status == 400
    assert answer["error"].endswith(".")


def test_all_faulty_fields_are_named_at_once():
    body = canonical_bytes({"Transaction ID": "x", "Amount (INR)": -1, "Status": "MAYBE", "Colour": "red"})
    status, answer = refusal(body, SECRETS.sign(body))
    assert status == 400
    assert set(answer["fields"]) == {*COLUMNS, "Colour"}


def test_a_key_that_stands_twice_and_a_nan_hide_no_other_fault():
    body = b'{"Amount (INR)": NaN, "Status": "SUCCESS", "Status": "FAILED", "Colour": 1, "Colour": 2, "Timestamp": []}'
    status, answer = refusal(body, SECRETS.sign(body))
    assert status == 400
    assert set(answer["fields"]) == {*COLUMNS, "Colour"}
    assert answer["fields"]["Status"] == answer["fields"]["Colour"] == "stands more than once"
    assert answer["fields"]["Amount (INR)"] == "must be finite"
    assert answer["fields"]["Sender Name"] == "is missing"


def test_a_key_that_stands_twice_is_refused_even_with_the_same_value():
    body = canonical_bytes(EVENT)[:-1] + b', "Status": "SUCCESS"}'
    for signature in (SECRETS.sign(body), SECRETS.sign(canonical_bytes(EVENT))):
        status, answer = refusal(body, signature)
        assert (status, answer["fields"]) == (400, {"Status": "stands more than once"})


def test_the_keys_of_an_inner_object_are_not_taken_for_the_events_own():
    body = canonical_bytes({**EVENT, "Status": {}}).replace(b"{}", b'{"Sender Name": 1, "Sender Name": 2}')
    status, answer = refusal(body, SECRETS.sign(body))
    assert (status, set(answer["fields"])) == (400, {"Status"})


@pytest.mark.parametrize("digits", [400, 5000, 60_000])
def test_a_number_of_thousands_of_digits_is_a_fault_of_its_field_alone(digits):
    body = canonical_bytes({**EVENT, "Amount (INR)": 77}).replace(b"77", b"7" * digits)
    status, answer = refusal(body, SECRETS.sign(body))
    assert (status, answer["fields"]) == (400, {"Amount (INR)": "must lie between 1e-18 and 1e15"})


def cost_of_repeated_keys_s(keys):
    body = b"{" + b",".join(b'"%x":1,"%x":1' % (number, number) for number in range(keys)) + b"}"
    costs_s = []
    for _ in range(5):
        started_s = time.thread_time()
        assert len(parse_body(body).faults) == keys
        costs_s.append(time.thread_time() - started_s)
    return min(costs_s)


def test_a_body_full_of_repeated_keys_costs_in_proportion_to_its_length():
    """Four times as much of them: some 4 times the cost, and 16 times where each key was counted by itself."""
    assert cost_of_repeated_keys_s(3200) < 9 * cost_of_repeated_keys_s(800)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonx", "multipart/form-data"])
def test_another_content_type_is_answered_415(content_type):
    assert refusal(b"{}", content_type=content_type)[0] == 415


def test_json_with_a_charset_is_json():
    body = canonical_bytes(EVENT)
    assert receive(request(body, SECRETS.sign(body), "application/JSON; charset=utf-8"), SECRETS)


def read(parts, **headers):
    """The request that a server tells of in `parts`, None standing for a caller that hangs up."""
    told = [{"type": "http.request", "body": part, "more_body": True} if part is not None else
            {"type": "http.disconnect"} for part in parts]  # fmt: skip
    told.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive_next():
        return told.pop(0)

    scope = {"headers": [(name.replace("_", "-").encode(), value) for name, value in headers.items()]}
    return asyncio.run(read_request(scope, receive_next, 65536))


@pytest.mark.parametrize("length", [b"", b"70000", b"1", b"9" * 400])
@pytest.mark.parametrize("parts", [[b" " * 65537], [b" " * 65536, b" "], [b" " * 1024] * 65])
def test_more_than_64_kib_is_answered_413_whatever_was_announced(length, parts):
    with pytest.raises(RefusedError) as caught:
        read(parts, content_length=length)
    assert caught.value.status == 413


def test_a_body_in_parts_is_read_whole_with_its_type_and_signature():
    found = read([b"a", b"", b"bc"], content_type=b"application/json", x_hmac_signature=b"\xe4")
    assert found == Request(b"abc", "application/json", "\xe4")


def test_a_caller_that_hangs_up_within_its_body_is_refused_and_nothing_of_it_is_taken():
    with pytest.raises(RefusedError) as caught:
        read([b'{"a"', None])
    assert caught.value.status == 400


def test_a_body_of_exactly_64_kib_is_read():
    body = canonical_bytes(EVENT).ljust(65536)
    assert receive(request(body, SECRETS.sign(body)), SECRETS).status == "SUCCESS"


@pytest.mark.parametrize("amount", [0.01, 1, 10**14, "12.50", "1e3", " 1"[1:], 1e-18])
def test_amounts_are_taken_as_number_or_numeric_text(amount):
    assert validate({**EVENT, "Amount (INR)": amount}).amount > 0


@pytest.mark.parametrize(
    "amount",
    [0, -1, "0", "-0.0", True, None, [], {}, "", "abc", "1,5", "٣", "nan", "Infinity", "1e999", 10**15, 1e300, 1e-19,
     "1" * 65, " 1", "1_000"],
    ids=repr,
)  # fmt: skip
def test_other_amounts_are_refused(amount):
    with pytest.raises(InvalidEventError) as caught:
        validate({**EVENT, "Amount (INR)": amount})
    assert list(caught.value.fields) == ["Amount (INR)"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(st.sampled_from([*COLUMNS, "Other"]), json_values) | st.builds(
    lambda key, value: {**EVENT, key: value}, st.sampled_from(COLUMNS), json_values
)


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_parsing_ends_in_a_document_or_a_sentence(body):
    try:
        assert isinstance(parse_body(body).document, dict)
    except InvalidEventError as error:
        assert error.sentence


@given(documents)
def test_whatever_the_document_validating_ends_in_an_event_or_named_fields(document):
    try:
        event = validate(document)
    except InvalidEventError as error:
        assert error.fields
    else:
        assert event.canonical == canonical_bytes(document)


@given(
    st.text(min_size=1, max_size=50),
    st.floats(1e-18, 9e14) | st.integers(1, 10**14) | st.decimals("0.01", "1e9", places=2).map(str),
)
def test_the_canonical_bytes_of_a_valid_event_are_those_that_python_writes(name, amount):
    document = {**EVENT, "Sender Name": f"a{name}b", "Amount (INR)": amount}
    try:
        event = validate(document)
    except InvalidEventError as error:
        assert list(error.fields) == ["Sender Name"]
    else:
        assert event.canonical == json.dumps(document, sort_keys=True).encode()


@given(documents, st.booleans())
def test_whatever_is_sent_an_answer_is_an_event_or_a_4xx(document, genuine):
    body = json.dumps(document).encode()
    try:
        receive(request(body, SECRETS.sign(body) if genuine else "0" * 64), SECRETS)
    except RefusedError as refused:
        assert refused.status == (400 if genuine else 403)
        json.loads(refused.body)
