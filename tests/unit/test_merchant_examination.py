import json

from hypothesis import given
from hypothesis import strategies as st

from services.common.signing import Secrets
from services.merchant_server.examination import examine
from tests.unit.merchant_app import ID, SECRETS, body, headers

NOW_S = 1_700_000_000.0
names = st.sampled_from(
    ["X-HMAC-Signature", "webhook-id", "webhook-timestamp", "webhook-signature", "X-Bruce-Record", "X-Bruce-Attempt"]
)
values = st.text(max_size=200) | st.from_regex(r"\d{1,6000}", fullmatch=True) | st.just(ID) | st.just("9" * 5000)


@given(st.binary(max_size=200) | st.just(body()), st.dictionaries(names, values))
def test_whatever_a_request_holds_it_is_examined_and_its_line_can_be_written(content, given_headers):
    line = examine(content, given_headers, SECRETS, NOW_S)
    json.dumps(line).encode()
    assert {line["hmac"], line["wh"]} <= {"ok", "bad", "missing", "stale"}


def test_a_timestamp_of_thousands_of_digits_is_a_bad_signature_and_no_fault_of_the_merchant():
    given_headers = headers(body(), now_s=NOW_S) | {"webhook-timestamp": "1" * 5000}
    assert examine(body(), given_headers, SECRETS, NOW_S)["wh"] == "bad"


@given(place=st.integers(0, len(body()) - 1), flip=st.integers(1, 255))
def test_a_body_changed_anywhere_verifies_under_neither_signature(place, flip):
    changed = bytearray(body())
    changed[place] ^= flip
    line = examine(bytes(changed), headers(body(), now_s=NOW_S), SECRETS, NOW_S)
    assert (line["hmac"], line["wh"]) == ("bad", "bad")


def test_another_secrets_signatures_are_bad():
    strangers = Secrets.parse("a-strangers-secret-0123456789")
    line = examine(body(), headers(body(), secrets=strangers, now_s=NOW_S), SECRETS, NOW_S)
    assert (line["hmac"], line["wh"]) == ("bad", "bad")


def test_the_ledger_tells_a_redelivery_and_says_nothing_where_there_is_none():
    content = body()
    assert "red" not in examine(content, headers(content), SECRETS, 0.0)
    assert examine(content, {**headers(content), "X-Bruce-Redelivery": "12"}, SECRETS, 0.0)["red"] == "12"
