"""What the merchant gets is shown as it was sent, verifies, and gives no secret away."""

import json

from control_room.tracking.timeline import Attempt, Redelivery, Timeline, pipeline_events
from control_room.tracking.timeline_text import render
from control_room.tracking.webhook import render_webhook, webhook_of
from services.common.signing import Secrets
from services.dispatcher.deliver import RequestHeaders
from services.dispatcher.record import Position, Record
from tests.unit.test_tracking_timeline import ID, T, attempt, row

SECRET = "first-secret-0123456789,second-secret-0123456789"
SECRETS = Secrets.parse(SECRET)
BODY = b'{"Receiver Name": "\\u001b[31m\\u202e", "Status": "SUCCESS", "Transaction ID": "%s"}' % ID.encode()
URL = "http://127.0.0.1:5001/webhook_listener"


def made(*attempts, ledger=(), secrets=SECRETS, body=BODY):
    return webhook_of(URL, ID, body, attempts, ledger, secrets)


def test_the_headers_shown_are_those_that_the_dispatcher_sent():
    one = Attempt(T + 9.7, 2, 3, 41.0, 500, None, "dispatcher", 1, 4411, None, 12)
    record = Record(Position(1, 4411, 7), ID, BODY, 0, redelivery=12, round=2, attempt=3)
    shown = made(one).requests[0].headers
    assert shown == RequestHeaders(SECRETS, "dispatcher").make(record, T + 9.7)
    signed = shown["webhook-id"], shown["webhook-timestamp"], shown["webhook-signature"], BODY
    assert SECRETS.verify_webhook(*signed, now_s=T + 9.7)


def test_no_secret_is_in_any_form_of_it():
    webhook = made(attempt(0.03, 1, 1), attempt(2.0, 1, 2), ledger=[{"n": 1, "sha": "x", "hmac": "bad", "wh": "ok"}])
    told = json.dumps(webhook.to_json()) + "\n".join(render_webhook(webhook)) + repr(webhook)
    for secret in SECRET.split(","):
        assert secret not in told


def test_the_body_is_shown_byte_for_byte_and_does_no_harm():
    webhook = made(attempt(0.03, 1, 1))
    lines = render_webhook(webhook)
    assert webhook.to_json()["body"].encode() == BODY
    assert "".join(line.strip() for line in lines if line.startswith("    ")) == BODY.decode().replace(" ", " ")
    wild = made(attempt(0.03, 1, 1), body=b"\x1b[31m\xff\n" * 9)
    assert all(char.isprintable() for line in render_webhook(wild) for char in line)


def test_one_that_was_not_tried_yet_shows_what_is_known_already():
    webhook = made()
    assert dict(webhook.requests[0].headers) == {"X-HMAC-Signature": SECRETS.sign(BODY), "webhook-id": ID}
    assert "not tried yet" in " ".join(render_webhook(webhook))


def test_without_the_secret_no_signature_is_made_up():
    webhook = made(attempt(0.03, 1, 1), secrets=None)
    assert "X-HMAC-Signature" not in webhook.requests[0].headers
    assert "signatures are left out" in " ".join(webhook.notes)


def test_bytes_and_signatures_that_the_merchant_saw_otherwise_are_told():
    good = {"n": 1, "sha": made().sha256, "hmac": "ok", "wh": "ok"}
    assert len(made(attempt(0.03, 1, 1), ledger=[good]).notes) == 1
    bad = [{**good, "n": 7, "sha": "00"}, {**good, "n": 8, "hmac": "bad"}]
    notes = " ".join(made(attempt(0.03, 1, 1), ledger=bad).notes)
    assert "line 7 of the ledger holds other bytes" in notes
    assert "does not verify" in notes


def asked(number=12, **changes):
    fields = {
        "asked_at_s": T + 20, "reason": "the merchant lost it", "state_before": "delivered", "published_at_s": T + 21,
        "published_by": "outbox-publisher", "partition": 2, "offset": 9, "ended_at_s": T + 22, "ended_as": "delivered",
    }  # fmt: skip
    return Redelivery(number, **{**fields, **changes})


def told(redelivery, *attempts):
    events = pipeline_events(row(round=1, age_s=30.0), attempts, redeliveries=[redelivery])
    events.sort(key=lambda event: event.at_s)
    return [line[13:].rstrip() for line in render(Timeline(ID, row(), tuple(events), ())) if line[2:3] == ":"]


def test_a_redelivery_is_told_from_its_asking_to_its_arrival_and_is_no_requeue():
    first = attempt(0.1, 1, 1, status=200)
    again = Attempt(T + 21.5, 2, 1, 9.0, 200, None, "dispatcher", 2, 9, None, 12)
    lines = told(asked(), first, again)
    assert lines[-4:] == [
        "redelivery   operator         redelivery 12 asked for: the merchant lost it",
        "published    outbox-publisher p2 @9, redelivery 12",
        "attempt 2.1  dispatcher       200 in 9 ms, redelivery 12",
        "redelivery   dispatcher       redelivery 12 arrived",
    ]
    assert not [line for line in lines if line.startswith("requeued")]


def test_a_redelivery_that_has_not_arrived_says_where_it_waits():
    nowhere = {"published_at_s": None, "published_by": None, "ended_at_s": None, "ended_as": None}
    assert "redelivery 12, for whoever publishes next" in told(asked(**nowhere))[-1]
    assert "redelivery 12: published, not tried yet" in told(asked(ended_at_s=None))[-1]
