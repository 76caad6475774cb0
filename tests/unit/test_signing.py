import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.common.signing import SecretError, Secrets, standard_signature, standard_webhooks_secret

OLD = "an-old-secret-of-enough-letters"
NEW = "a-new-secret-of-enough-letters"
ID = "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f"
BODY = b'{"Sender Name": "\\u0906\\u0930\\u0935"}'


def test_the_published_test_vector_of_standard_webhooks():
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = standard_signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def _headers(secrets, now_s, webhook_id=ID):
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": secrets.webhook_signature(webhook_id, int(now_s), BODY),
    }


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_the_standardwebhooks_library_verifies_what_we_sign_with_each_of_the_secrets(secret):
    headers = _headers(Secrets.parse(f"{NEW},{OLD}"), time.time())
    assert Webhook(standard_webhooks_secret(secret)).verify(BODY, headers) == {"Sender Name": "आरव"}


def test_we_verify_what_the_standardwebhooks_library_signs():
    now = datetime.now(UTC)
    signature = Webhook(standard_webhooks_secret(OLD)).sign(ID, now, BODY.decode())
    secrets = Secrets.parse(f"{NEW},{OLD}")
    assert secrets.verify_webhook(ID, str(int(now.timestamp())), signature, BODY, now_s=now.timestamp())


def test_the_library_refuses_what_another_secret_signed():
    with pytest.raises(WebhookVerificationError):
        Webhook(standard_webhooks_secret(NEW)).verify(BODY, _headers(Secrets.parse(OLD), time.time()))


@pytest.mark.parametrize("off_s", [-301, 301])
def test_a_replayed_webhook_is_refused(off_s):
    now_s = 1_700_000_000
    secrets = Secrets.parse(OLD)
    headers = _headers(secrets, now_s)
    values = (headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], BODY)
    assert secrets.verify_webhook(*values, now_s=now_s + 299)
    assert not secrets.verify_webhook(*values, now_s=now_s + off_s)


@pytest.mark.parametrize("timestamp", ["", "-5", "1e9", "soon", "१७००००००००", "9" * 5000])
def test_a_timestamp_that_is_no_number_is_refused_without_an_exception(timestamp):
    assert not Secrets.parse(OLD).verify_webhook(ID, timestamp, "v1,aaaa", BODY, now_s=1_700_000_000)


def test_the_first_secret_signs_and_all_verify():
    secrets = Secrets.parse(f" {NEW} , {OLD} ")
    assert secrets.sign(BODY) == hmac.new(NEW.encode(), BODY, "sha256").hexdigest()
    assert secrets.verify(Secrets.parse(OLD).sign(BODY), BODY)
    assert not Secrets.parse(NEW).verify(Secrets.parse(OLD).sign(BODY), BODY)


def test_a_signature_over_either_form_of_the_body_is_valid():
    secrets = Secrets.parse(OLD)
    assert secrets.verify(secrets.sign(b"canonical"), b"raw", b"canonical")


@given(signature=st.one_of(st.none(), st.text(max_size=80), st.text("0123456789abcdef", min_size=64, max_size=64)))
def test_no_other_signature_is_ever_valid(signature):
    secrets = Secrets.parse(OLD)
    assert secrets.verify(signature, BODY) == (signature == secrets.sign(BODY))


@given(place=st.integers(0, len(BODY) - 1), flip=st.integers(1, 255))
def test_a_body_changed_anywhere_does_not_verify(place, flip):
    secrets = Secrets.parse(OLD)
    changed = bytearray(BODY)
    changed[place] ^= flip
    assert not secrets.verify(secrets.sign(BODY), bytes(changed))


@pytest.mark.parametrize("text", ["", " , ", "short", "changeme-changeme-changeme", f"{OLD},aaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_missing_short_or_placeholder_secret_is_refused_with_a_way_to_make_one(text):
    with pytest.raises(SecretError, match="make one with") as caught:
        Secrets.parse(text)
    assert not text.strip(" ,") or text not in str(caught.value)
