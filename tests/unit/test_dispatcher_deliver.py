"""One HTTP attempt against a merchant that answers with raw bytes, or does not."""

import asyncio
import socket
import ssl
import struct
import subprocess
import time
import tracemalloc
from contextlib import asynccontextmanager

import pytest

from services.common import http_client
from services.common.http_client import MAX_ANSWER_BYTES
from services.common.signing import Secrets
from services.dispatcher.deliver import Answer, HttpDeliverer, RequestHeaders
from tests.unit.dispatcher_ports import record

BODY = b'{"Transaction ID": "x"}'


@asynccontextmanager
async def merchant(talk, timeout_s=2.0):
    """A deliverer, and the requests that a server has read which then lets `talk(writer)` answer."""
    requests = []

    async def serve(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.append((head, await reader.readexactly(len(BODY))))
                await talk(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    deliverer = HttpDeliverer(url, timeout_s=timeout_s)
    try:
        yield deliverer, requests
    finally:
        await deliverer.close()
        server.close()


def says(text):
    async def talk(writer):
        writer.write(text)
        await writer.drain()

    return talk


async def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang(writer):
    await asyncio.sleep(60)


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_a_2xx_is_a_delivery_and_its_connection_is_used_again(status):
    answer = b"HTTP/1.1 %d X\r\n%s\r\n" % (status, b"" if status == 204 else b"Content-Length: 0\r\n")
    async with merchant(says(answer)) as (deliverer, requests):
        for _ in range(3):
            found = await deliverer.post({"a": "b"}, BODY)
            assert (found, found.delivered) == (Answer(status), True)
        assert [body for _, body in requests] == [BODY] * 3
        assert requests[0][0].startswith(b"POST /hook HTTP/1.1\r\n")
        assert deliverer.idle_connections == 1


async def test_a_redirect_is_a_failed_attempt_and_is_not_followed():
    async with merchant(says(b"HTTP/1.1 307 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")) as (one, requests):
        assert (await one.post({}, BODY)).status == 307
        assert len(requests) == 1


async def test_a_refusal_says_when_to_come_again():
    async with merchant(says(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno")) as (one, _):
        assert await one.post({}, BODY) == Answer(429, None, 7.0)


async def test_a_301_is_not_followed_wherever_it_points():
    async with merchant(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (_, elsewhere):
        away = b"HTTP/1.1 301 X\r\nLocation: %s\r\nContent-Length: 2\r\n\r\nno"
        for place in (b"/hook", b"http://127.0.0.1:1/", b"//[", b"http://\xff/"):
            async with merchant(says(away % place)) as (one, requests):
                found = [await one.post({}, BODY) for _ in range(2)]
                assert [(answer.status, answer.delivered) for answer in found] == [(301, False)] * 2
                assert len(requests) == 2
        assert elsewhere == []


def drips(text, pause_s):
    async def talk(writer):
        for number in range(len(text)):
            writer.write(text[number : number + 1])
            await writer.drain()
            await asyncio.sleep(pause_s)

    return talk


async def test_an_answer_that_drips_within_the_time_is_taken_and_its_connection_used_again():
    async with merchant(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0.005)) as (one, requests):
        assert [await one.post({}, BODY) for _ in range(2)] == [Answer(200)] * 2
        assert len(requests) == 2
        assert one.idle_connections == 1


async def test_the_time_is_for_the_whole_answer_however_often_a_byte_comes():
    began_s = time.monotonic()
    async with merchant(drips(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000, 0.02), timeout_s=0.5) as (one, _):
        assert await one.post({}, BODY) == Answer(None, "timeout")
        assert not one.idle_connections
    assert time.monotonic() - began_s < 3


@pytest.mark.parametrize("status", [200, 500])
async def test_a_status_in_time_decides_though_its_body_drips_on_and_that_ends_in_time_too(status):
    began_s = time.monotonic()
    text = b"HTTP/1.1 %d X\r\nContent-Length: 9999\r\n\r\n" % status

    async def talk(writer):
        await says(text)(writer)
        await drips(b"b" * 9999, 0.02)(writer)

    async with merchant(talk, timeout_s=0.5) as (one, _):
        assert await one.post({}, BODY) == Answer(status)
        assert not one.idle_connections, "the rest of the body would be taken for the next answer"
    assert time.monotonic() - began_s < 3


async def test_no_answer_in_time_is_a_timeout_and_takes_no_longer():
    began_s = time.monotonic()
    async with merchant(hang, timeout_s=0.2) as (one, _):
        assert await one.post({}, BODY) == Answer(None, "timeout")
    assert time.monotonic() - began_s < 2


async def test_a_connection_that_is_reset_or_refused_is_a_failed_attempt():
    async with merchant(reset) as (one, _):
        assert await one.post({}, BODY) == Answer(None, "reset")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    deliverer = HttpDeliverer(f"http://127.0.0.1:{port}/", timeout_s=2)
    assert await deliverer.post({}, BODY) == Answer(None, "refused")
    await deliverer.close()


@pytest.mark.parametrize(
    "garbage", [b"SMTP ready\r\n\r\n", b"HTTP/1.1 abc X\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 99_999]
)
async def test_whatever_a_merchant_says_is_an_answer_and_never_an_exception(garbage):
    async with merchant(says(garbage), timeout_s=1.0) as (one, _):
        found = await one.post({}, BODY)
    assert found.status is None
    assert found.error


async def test_a_2xx_whose_body_breaks_off_is_a_delivery():
    async def talk(writer):
        await says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")(writer)
        await asyncio.sleep(0.05)
        await reset(writer)

    async with merchant(talk) as (one, _):
        assert await one.post({}, BODY) == Answer(200)


async def test_of_an_endless_answer_little_is_read():
    sent = 0

    async def talk(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000
            await writer.drain()

    async with merchant(talk) as (one, _):
        assert (await one.post({}, BODY)).delivered
        assert not one.idle_connections, "a connection with an answer left in it is not used again"
    assert sent < 200 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("status", [200, 503])
async def test_a_huge_answer_counts_by_its_status_and_costs_no_memory(status):
    size_bytes = 64 * 1024 * 1024
    block = bytes(0x10000)

    async def talk(writer):
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, size_bytes))
        for _ in range(size_bytes // len(block)):
            writer.write(block)
            await writer.drain()

    async with merchant(talk) as (one, requests):
        await one.post({}, BODY)
        tracemalloc.start()
        try:
            found = await asyncio.gather(*[one.post({}, BODY) for _ in range(5)])
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found == [Answer(status)] * 5
        assert len(requests) == 6
        assert not one.idle_connections
    assert peak_bytes < 16 * 1024 * 1024, "far below the 320 MiB that were offered"


@pytest.mark.parametrize("block", [b"x-a: " + b"b" * 4000 + b"\r\n", b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n"])
async def test_a_head_without_end_is_a_failed_attempt_in_time(block):
    began_s = time.monotonic()

    async def talk(writer):
        if block.startswith(b"x-a"):
            writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(block * 16)
            await writer.drain()

    async with merchant(talk, timeout_s=0.5) as (one, _):
        found = await one.post({}, BODY)
    assert found.status is None
    assert time.monotonic() - began_s < 3


async def test_no_proxy_no_cookie_and_nothing_unasked_for_is_sent(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with merchant(says(answer)) as (one, requests):
        await one.post({"X-Ours": "1"}, BODY)
        assert (await one.post({"X-Ours": "1"}, BODY)).delivered
    head = requests[1][0].decode()
    names = {line.split(":")[0].lower() for line in head.split("\r\n")[1:] if line}
    assert names == {"host", "x-ours", "content-length"}


def test_each_attempt_is_signed_anew_under_the_same_id():
    secrets = Secrets.parse("first-secret-0123456789,second-secret-0123456789")
    headers, one = RequestHeaders(secrets, "dispatcher"), record(9)
    one.attempt = 1
    first = headers.make(one, 1_800_000_000.9)
    one.attempt, one.round = 2, 3
    second = headers.make(one, 1_800_000_002.0)
    assert first["webhook-id"] == second["webhook-id"] == one.transaction_id
    assert first["X-HMAC-Signature"] == second["X-HMAC-Signature"]
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1800000000", "1800000002")
    assert first["webhook-signature"] != second["webhook-signature"]
    assert len(first["webhook-signature"].split()) == 2, "one per secret, so that either may be retired"
    assert (first["X-Bruce-Attempt"], second["X-Bruce-Attempt"]) == ("1.1", "3.2")
    for made in (first, second):
        signed = made["webhook-id"], made["webhook-timestamp"], made["webhook-signature"], one.body
        assert secrets.verify_webhook(*signed, now_s=1_800_000_000.0)


def test_a_redelivery_is_signed_anew_under_the_same_id_and_says_which_it_is():
    """So a merchant's idempotency and its signature check work as with any other attempt."""
    secrets = Secrets.parse("first-secret-0123456789")
    headers, one = RequestHeaders(secrets, "dispatcher"), record(9)
    one.attempt = 1
    assert "X-Bruce-Redelivery" not in headers.make(one, 1_800_000_000.0)
    one.redelivery = 12
    made = headers.make(one, 1_800_009_000.0)
    assert (made["X-Bruce-Redelivery"], made["webhook-id"]) == ("12", one.transaction_id)
    assert secrets.verify(made["X-HMAC-Signature"], one.body)
    signed = made["webhook-id"], made["webhook-timestamp"], made["webhook-signature"], one.body
    assert secrets.verify_webhook(*signed, now_s=1_800_009_000.0)


async def test_a_request_is_never_repeated_by_itself_not_even_on_a_connection_that_was_good_before():
    """The merchant may have taken it; whether it is sent again is the dispatcher's to say, as an attempt of its own."""
    answers = [says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), reset]

    async def talk(writer):
        await answers.pop(0)(writer)

    async with merchant(talk) as (one, requests):
        assert await one.post({}, BODY) == Answer(200)
        assert await one.post({}, BODY) == Answer(None, "reset")
        assert len(requests) == 2


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one():
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2
    answers = [says(twice), says(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")]

    async def talk(writer):
        await answers.pop(0)(writer)

    async with merchant(talk) as (one, _):
        assert await one.post({}, BODY) == Answer(200)
        await asyncio.sleep(0.05)
        assert await one.post({}, BODY) == Answer(500)


async def test_a_connection_that_the_merchant_closes_is_not_used_again():
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with merchant(says(answer)) as (one, requests):
        assert [await one.post({}, BODY) for _ in range(2)] == [Answer(200)] * 2
        assert one.idle_connections == 0
        assert len(requests) == 2


async def test_an_answer_whose_end_is_the_connections_end_is_an_answer():
    async def talk(writer):
        await says(b"HTTP/1.0 200 OK\r\n\r\nfine")(writer)
        writer.close()

    async with merchant(talk) as (one, _):
        assert await one.post({}, BODY) == Answer(200)


async def test_an_answer_that_only_announces_another_is_none():
    text = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\nok"
    async with merchant(says(text)) as (one, _):
        assert [await one.post({}, BODY) for _ in range(2)] == [Answer(202)] * 2


async def test_a_header_that_would_be_two_is_never_sent():
    async with merchant(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (one, requests):
        assert await one.post({"X-Ours": "1\r\nX-Theirs: 2"}, BODY) == Answer(None, "malformed header")
        assert requests == []


async def test_an_idle_connection_is_closed_after_its_time(monkeypatch):
    monkeypatch.setattr(http_client, "KEEP_ALIVE_S", 0.05)
    async with merchant(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (one, _):
        await asyncio.gather(*[one.post({}, BODY) for _ in range(3)])
        assert one.idle_connections == 3
        for _ in range(200):
            if not one.idle_connections:
                break
            await asyncio.sleep(0.02)
        assert one.idle_connections == 0


async def test_many_requests_at_once_each_get_their_own_answer():
    async def talk(writer):
        await asyncio.sleep(0.01)
        await says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(writer)

    async with merchant(talk, timeout_s=30.0) as (one, requests):
        assert await asyncio.gather(*[one.post({}, BODY) for _ in range(200)]) == [Answer(200)] * 200
        assert len(requests) == 200


async def test_a_name_that_cannot_be_resolved_is_said():
    deliverer = HttpDeliverer("http://no-such-name.invalid/", timeout_s=5)
    assert (await deliverer.post({}, BODY)).error in ("dns", "timeout")
    await deliverer.close()


async def test_a_merchant_whose_certificate_nobody_knows_is_not_delivered_to(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    deliverer = HttpDeliverer(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=5)
    assert await deliverer.post({}, BODY) == Answer(None, "tls")
    await deliverer.close()
    server.close()


async def test_the_address_is_sent_as_it_stands_in_the_url():
    async with merchant(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (one, requests):
        base = one._client._begin.split("Host: ")[1].strip()
        other = HttpDeliverer(f"http://{base}/a%20b?c=d&e=f#no", timeout_s=2)
        assert (await other.post({}, BODY)).delivered
        await other.close()
        head = requests[0][0].decode()
    assert head.startswith("POST /a%20b?c=d&e=f HTTP/1.1\r\n")
    assert f"Host: {base}\r\n" in head
