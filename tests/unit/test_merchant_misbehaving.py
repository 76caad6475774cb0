"""The merchant's less orderly answers, on the wire and in the ledger."""

import asyncio
import json
import time

import aiohttp
import pytest

from tests.unit.merchant_app import body, headers, merchant


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


async def talk(shop, *, content=b"{}", send_body=True, target="/webhook_listener"):
    """One request on a connection of its own: its reader and writer, nothing read yet."""
    host, port = shop.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
    head += [f"{name}: {value}" for name, value in headers(content).items()]
    writer.write("\r\n".join([*head, "", ""]).encode() + (content if send_body else b""))
    await writer.drain()
    return reader, writer


async def until(condition, deadline_s=5.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def test_a_reset_before_the_body_needs_no_body_and_leaves_no_line(path):
    async with merchant(path, mode="reset-before-body") as shop:
        reader, writer = await talk(shop, content=body(), send_body=False)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert await shop.deliver() == "reset"
        await shop.behave(mode="normal")
        assert await shop.deliver() == 200
        assert [record["status"] for record in shop.records()] == [200]
        state = json.loads((await shop.get("/admin/state")).body)
        assert state["answers"] == {"reset-before-body": 2, "200": 1}


async def test_a_reset_after_the_body_waits_for_the_body_and_takes_nothing(path):
    async with merchant(path, mode="refuse") as shop:
        reader, writer = await talk(shop, content=body(), send_body=False)
        reading = asyncio.ensure_future(reader.read())
        assert not (await asyncio.wait({reading}, timeout=0.2))[0], "the request is not whole yet"
        writer.write(body())
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reading, 5)
        writer.close()
        [record] = await shop.settled(1)
    assert (record["status"], "ans" in record) == (0, False)


async def test_an_answer_lost_after_the_ledger_is_a_200_that_says_it_was_cut(path):
    async with merchant(path, mode="reset-after-ledger") as shop:
        reader, writer = await talk(shop, content=body())
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        [record] = shop.records()  # on disk before the caller heard anything
        writer.close()
        assert (record["status"], record["ans"], record["hmac"], record["wh"]) == (200, "cut", "ok", "ok")


async def test_an_answer_that_drips_comes_byte_by_byte_and_its_line_was_there_before_the_first(path):
    async with merchant(path, mode="drip", drip_s=0.5) as shop:
        began_s = time.monotonic()
        reader, writer = await talk(shop, content=body())
        pieces = [await reader.read(1000)]
        [record] = shop.records()
        while piece := await reader.read(1000):
            pieces.append(piece)
        took_s = time.monotonic() - began_s
        writer.close()
    assert b"".join(pieces) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    assert len(pieces) > 10
    assert took_s >= 0.5
    assert (record["status"], record["ans"]) == (200, "drip")


@pytest.mark.parametrize(("drip_s", "answer"), [(0.2, 200), (3.0, "timeout")])
async def test_a_dripping_answer_may_be_faster_or_slower_than_its_caller_waits(path, drip_s, answer):
    async with merchant(path, mode="drip", drip_s=drip_s) as shop:
        assert await shop.deliver(timeout_s=1.0) == answer
        await until(lambda: shop.listener.hanging == 0)
        assert [record["status"] for record in shop.records()] == [200]


async def test_a_dripping_answer_does_not_hold_up_an_end(path):
    async with merchant(path, mode="drip", drip_s=60) as shop:
        reader, writer = await talk(shop, content=body())
        await reader.read(1)
        assert shop.listener.hanging == 1
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2
    writer.close()


async def test_a_huge_answer_is_as_large_as_asked_for_and_stops_with_its_reader_without_a_word(path, caplog):
    async with merchant(path, mode="huge", huge_bytes=300_000) as shop:
        async with shop.session.post(f"{shop.url}/webhook_listener", data=body()) as response:
            assert (response.status, len(await response.read())) == (200, 300_000)
        await shop.behave(huge_bytes=1024**3)
        response = await shop.session.post(f"{shop.url}/webhook_listener", data=body())
        await response.content.readexactly(70_000)
        assert shop.listener.hanging == 1, "it sends no faster than it is read"
        response.close()
        await until(lambda: shop.listener.hanging == 0)
        assert [record["status"] for record in shop.records()] == [200, 200]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_redirect_names_a_place_where_whoever_follows_delivers_nothing(path):
    async with merchant(path, mode="redirect") as shop:
        assert await shop.deliver() == 301
        async with shop.session.post(f"{shop.url}/webhook_listener", data=body()) as followed:
            assert (followed.status, followed.url.path) == (200, "/webhook_listener/moved")
        records = await shop.settled(2)
        assert [record["status"] for record in records] == [301, 301]
        assert "merchant_redirects_followed_total" in (await shop.get("/metrics")).body.decode()


async def test_a_flapping_merchant_fails_and_works_in_turn_from_the_change_on(path):
    async with merchant(path) as shop:
        await shop.behave(mode="flapping", flap_s=0.4)
        found, end_s = [], time.monotonic() + 10
        while (not found or found.count(200) + found.count(500) < 4) and time.monotonic() < end_s:
            answer = await shop.deliver()
            if not found or found[-1] != answer:
                found.append(answer)
        assert found == [500, 200, 500, 200]


@pytest.mark.parametrize("mode", ["normal", "outage", "refuse", "reset-before-body", "reset-after-ledger", "drip"])
async def test_a_probe_is_answered_alike_and_is_no_delivery(path, mode):
    async with merchant(path, mode=mode, drip_s=0.1) as shop:
        reader, writer = await talk(shop, target="/admin/probe")
        try:
            answer = (await asyncio.wait_for(reader.readline(), 5))[9:12]
        except ConnectionResetError:
            answer = b"reset"
        writer.close()
        expected = {"normal": b"200", "outage": b"500", "drip": b"200"}
        assert answer == expected.get(mode, b"reset")
        await shop.behave(mode="normal")
        assert await shop.deliver() == 200
        assert [record["n"] for record in shop.records()] == [0], "the delivery's line, and no other"
        assert json.loads((await shop.get("/admin/state")).body)["answers"] == {"200": 1}


async def test_a_ledger_that_cannot_be_written_is_a_503_whatever_the_mode_would_take(path, monkeypatch):
    async with merchant(path, mode="reset-after-ledger") as shop:
        with monkeypatch.context() as patch:

            def full(records):
                raise OSError(28, "No space left on device")

            patch.setattr(shop.ledger, "append", full)
            assert await shop.deliver("during") == 503
        assert await shop.deliver("after") == "reset"
        records = await shop.settled(2)
    lines = {record["id"]: (record["status"], record.get("ans")) for record in records}
    assert lines == {"during": (503, None), "after": (200, "cut")}


async def test_a_caller_that_leaves_during_the_latency_was_not_delivered_to_in_any_mode(path):
    async with merchant(path, mode="reset-after-ledger", latency_ms=60_000) as shop:
        assert await shop.deliver(timeout_s=1) == "timeout"
        [record] = await shop.settled(1)
    assert (record["status"], "ans" in record) == (-1, False)


async def test_connections_that_were_reset_disturb_no_other(path):
    async with merchant(path, mode="reset-after-ledger") as shop:
        assert set(await asyncio.gather(*[shop.deliver(f"{number}") for number in range(50)])) == {"reset"}
        await shop.behave(mode="normal")
        async with aiohttp.ClientSession() as fresh, fresh.post(f"{shop.url}/webhook_listener", data=body()) as answer:
            assert answer.status == 200
        assert len({record["id"] for record in shop.records()}) == 51
