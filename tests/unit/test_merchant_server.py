import asyncio
import errno
import json
import os
import time
from collections import Counter

import aiohttp
import pytest
from standardwebhooks import Webhook

from services.common.chain import read_chain
from services.common.lifecycle import allow_many_files
from services.common.signing import Secrets, standard_webhooks_secret
from tests.unit.merchant_app import ID, SECRETS, body, headers, merchant


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


async def test_a_delivery_is_in_the_ledger_before_its_200_leaves(path):
    async with merchant(path) as shop:
        for number in range(20):
            transaction_id = f"id-{number}"
            assert await shop.deliver(transaction_id) == 200
            assert shop.records()[-1]["id"] == transaction_id


async def test_a_line_says_all_there_is_to_say_about_a_request(path):
    async with merchant(path) as shop:
        content = body(ID.upper())
        await shop.deliver(ID, content=content)
        [record] = shop.records()
    assert record["id"] == ID, "in lower case"
    assert (record["k"], record["hmac"], record["wh"], record["status"]) == ("req", "ok", "ok", 200)
    assert (record["src"], record["att"], record["by"]) == ("1@42", "1.2", "dispatcher")
    assert abs(record["at"] - time.time()) < 5
    assert len(record["sha"]) == 64


OTHER = Secrets.parse("another-secret-0123456789abcdef")


@pytest.mark.parametrize(
    ("change", "hmac", "wh"),
    [
        ({}, "ok", "ok"),
        ({"X-HMAC-Signature": None}, "missing", "ok"),
        ({"X-HMAC-Signature": OTHER.sign(body())}, "bad", "ok"),
        ({"X-HMAC-Signature": "ж" * 64}, "bad", "ok"),
        ({"webhook-id": None}, "ok", "missing"),
        ({"webhook-signature": "v1,AAAA"}, "ok", "bad"),
        ({"webhook-timestamp": "1600000000"}, "ok", "bad"),
        ({"webhook-timestamp": "now"}, "ok", "bad"),
        (headers(body(), "another-id"), "ok", "bad"),
        (headers(body(), secrets=OTHER), "bad", "bad"),
    ],
)
async def test_both_signatures_are_verified_and_the_result_recorded(path, change, hmac, wh):
    sent = {name: value for name, value in {**headers(body()), **change}.items() if value is not None}
    async with merchant(path) as shop:
        assert await shop.deliver(sent=sent) == 200
        [record] = shop.records()
    assert (record["hmac"], record["wh"]) == (hmac, wh)


@pytest.mark.parametrize("off_s", [-3600, 3600])
async def test_a_right_signature_of_another_hour_is_refused_and_never_counts_as_delivered(path, off_s):
    async with merchant(path) as shop:
        assert await shop.deliver(sent=headers(body(), now_s=time.time() + off_s)) == 401
        [record] = await shop.settled(1)
    assert (record["hmac"], record["wh"], record["status"]) == ("ok", "stale", 401)


async def test_while_secrets_rotate_either_one_verifies(path):
    both = Secrets.parse("another-secret-0123456789abcdef,merchant-test-secret-0123456789")
    async with merchant(path, secrets=both) as shop:
        for signer in (OTHER, SECRETS, both):
            await shop.deliver(sent=headers(body(), secrets=signer))
        assert {(record["hmac"], record["wh"]) for record in shop.records()} == {("ok", "ok")}


def test_what_the_dispatchers_headers_carry_an_off_the_shelf_library_verifies():
    secret = "merchant-test-secret-0123456789"
    assert Webhook(standard_webhooks_secret(secret)).verify(body(), headers(body())) == {"Transaction ID": ID}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"Transaction ID": 5}', b"\xff", b'"\\ud800"', b"x" * 100_000])
async def test_hostile_bodies_and_headers_are_lines_like_any_other(path, content):
    hostile = {"X-Bruce-Record": "я" * 50, "X-Bruce-Attempt": "9" * 5000, "X-HMAC-Signature": "nope"}
    async with merchant(path) as shop:
        assert await shop.deliver(content=content, sent=hostile) == 200
        [record] = shop.records()
    assert record["id"] == ""
    assert (record["src"], record["att"]) == ("", "9" * 100)


async def test_a_body_beyond_the_limit_is_refused(path):
    async with merchant(path) as shop:
        assert await shop.deliver(content=b"x" * 1_100_000) == 413
        assert shop.records() == []


@pytest.mark.parametrize(
    ("mode", "answer", "status"),
    [
        ("outage", 500, 500),
        ("silent", "timeout", -1),
        ("refuse", "reset", 0),
        ("rate-limited", 429, 429),
        ("gone", 410, 410),
        ("normal", 200, 200),
    ],
)
async def test_each_mode_answers_its_way_and_leaves_its_line(path, mode, answer, status):
    async with merchant(path) as shop:
        assert (await shop.behave(mode=mode))[0] == 200
        assert await shop.deliver(timeout_s=0.3) == answer
        [record] = await shop.settled(1)
        assert record["status"] == status
        assert (await shop.behave(mode="normal"))[0] == 200
        assert await shop.deliver() == 200, "another mode follows at once"


async def test_a_rate_limited_answer_says_when_to_come_again(path):
    async with (
        merchant(path, mode="rate-limited", retry_after_s=6.2) as shop,
        shop.session.post(f"{shop.url}/webhook_listener", data=body()) as response,
    ):
        assert (response.status, response.headers["Retry-After"]) == (429, "7")


async def test_a_held_back_answer_ends_when_the_caller_hangs_up(path):
    async with merchant(path, mode="silent") as shop:
        assert await shop.deliver(timeout_s=0.2) == "timeout"
        deadline = time.monotonic() + 2
        while shop.listener.hanging and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert shop.listener.hanging == 0


async def test_a_patient_caller_is_answered_after_the_hang_and_never_with_a_2xx(path):
    async with merchant(path, mode="silent", hang_s=0.3) as shop:
        began_s = time.monotonic()
        assert await shop.deliver() == 504
        assert time.monotonic() - began_s >= 0.29


async def test_latency_is_added_and_a_caller_that_leaves_meanwhile_is_recorded_as_unanswered(path):
    async with merchant(path, latency_ms=150) as shop:
        began_s = time.monotonic()
        assert await shop.deliver() == 200
        assert time.monotonic() - began_s > 0.14
        assert await shop.deliver("left", timeout_s=0.05) == "timeout"
        assert [record["status"] for record in await shop.settled(2)] == [200, -1]


async def test_thousands_of_hanging_requests_leave_room_for_others(path):
    allow_many_files()
    async with merchant(path, mode="silent") as shop:
        hanging = [asyncio.ensure_future(shop.deliver(f"h{number}", timeout_s=300)) for number in range(2000)]
        deadline = time.monotonic() + 120
        while shop.listener.hanging < 2000 and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert shop.listener.hanging == 2000
        await shop.behave(mode="normal")
        began_s = time.monotonic()
        assert await shop.deliver() == 200
        assert time.monotonic() - began_s < 20, "and it waits for none of them"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert Counter(record["status"] for record in shop.records()) == {-1: 2000, 200: 1}


async def test_requests_that_wait_together_share_one_fsync(path):
    async with merchant(path) as shop:
        assert set(await asyncio.gather(*[shop.deliver(f"{number}") for number in range(200)])) == {200}
        assert sum(shop.groups) == 200
        assert len(shop.groups) < 100
    assert len({record["id"] for record in shop.records()}) == 200


async def test_lines_nobody_waits_for_are_written_soon_all_the_same(path):
    async with merchant(path, mode="outage") as shop:
        assert await shop.deliver() == 500
        assert len(await shop.settled(1)) == 1


async def test_a_full_disk_is_a_503_and_never_a_200_and_the_ledger_recovers(path, monkeypatch):
    async with merchant(path) as shop:
        assert await shop.deliver("before") == 200
        write = os.write

        def full(fd, block):
            if fd == shop.ledger._fd:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, block)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            assert await shop.deliver("during") == 503
            assert await shop.deliver("during") == 503
            assert json.loads((await shop.get("/healthz")).body)["ledger"] == "No space left on device"
        assert await shop.deliver("after") == 200
        assert json.loads((await shop.get("/healthz")).body)["ledger"] == "ok"
        records = await shop.settled(4)
    assert sorted((record["id"], record["status"]) for record in records) == [
        ("after", 200), ("before", 200), ("during", 503), ("during", 503),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"), [({"failure_rate": 7}, "failure_rate"), ({"mode": "off"}, "mode"), ([], "body")]
)
async def test_a_wrong_behaviour_is_a_400_that_names_the_field_and_changes_nothing(path, changes, field):
    async with merchant(path) as shop:
        async with shop.session.put(f"{shop.url}/admin/behaviour", json=changes) as response:
            assert response.status == 400
            document = await response.json()
        assert list(document["fields"]) == [field]
        assert "must be" in document["error"]
        async with shop.session.put(f"{shop.url}/admin/behaviour", data=b"{") as response:
            assert response.status == 400
        assert json.loads((await shop.get("/admin/behaviour")).body)["failure_rate"] == 0.0


async def test_the_ledger_is_read_in_pages_over_http(path):
    async with merchant(path) as shop:
        await asyncio.gather(*[shop.deliver(f"{number}") for number in range(50)])
        lines, following = b"", 0
        while True:
            page = await shop.get(f"/ledger?from={following}&limit=7")
            assert page.headers["Content-Type"] == "application/x-ndjson"
            assert page.headers["X-Ledger-Lines"] == "50"
            if not page.body:
                break
            lines, following = lines + page.body, int(page.headers["X-Next-Line"])
        assert following == 50
        assert lines == path.read_bytes()
        assert (await shop.get("/ledger")).body == lines
        for wrong in ("from=-1", "from=x", "limit=1000000", "from=%D9%A3"):
            assert (await shop.get(f"/ledger?{wrong}")).status == 400


async def test_a_stream_follows_the_ledger_from_any_line_on(path):
    async with merchant(path) as shop:
        await shop.deliver("old")
        await shop.deliver("new")
        async with shop.session.get(f"{shop.url}/ledger/stream?from=1") as response:
            assert json.loads(await asyncio.wait_for(response.content.readline(), 5))["id"] == "new"
            await shop.deliver("newest")
            last = await asyncio.wait_for(response.content.readline(), 5)
        assert next(read_chain([last], trust_first=True))["id"] == "newest"


async def test_an_end_does_not_wait_for_hanging_requests_or_followers(path):
    async with merchant(path, mode="silent") as shop:
        hanging = asyncio.ensure_future(shop.deliver("hangs", timeout_s=60))
        follower = await shop.session.get(f"{shop.url}/ledger/stream")
        await shop.settled(1)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2
    assert await hanging == "reset"
    follower.close()
    assert [record["id"] for record in shop.records()] == ["hangs"]


async def test_state_and_metrics_say_what_it_does(path):
    async with merchant(path, mode="silent") as shop:
        hanging = asyncio.ensure_future(shop.deliver(timeout_s=30))
        await shop.settled(1)
        state = json.loads((await shop.get("/admin/state")).body)
        assert (state["hanging"], state["ledger"]["lines"], state["behaviour"]["mode"]) == (1, 1, "silent")
        assert state["pid"] == os.getpid()
        shown = (await shop.get("/metrics")).body.decode()
        for name in (
            'merchant_requests_total{answer="hang"}',
            'merchant_signatures_total{kind="webhook",result="ok"}',
            "merchant_hanging_requests 1.0",
            "merchant_ledger_lines",
            "merchant_ledger_fsync_seconds_bucket",
            "merchant_ledger_group_lines_bucket",
        ):
            assert name in shown
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_a_caller_that_breaks_off_inside_its_body_leaves_no_line_and_no_harm(path):
    async with merchant(path) as shop:
        host, port = shop.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /webhook_listener HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        assert await shop.deliver() == 200
        assert len(shop.records()) == 1


async def test_another_method_is_not_allowed(path):
    async with merchant(path) as shop:
        assert (await shop.get("/webhook_listener")).status == 405
        async with aiohttp.ClientSession() as other, other.delete(f"{shop.url}/admin/behaviour") as response:
            assert response.status == 405
