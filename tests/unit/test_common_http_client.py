"""The HTTP client where what an answer says counts; as the dispatcher uses it: test_dispatcher_deliver."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.common.http_client import HttpClient, NoAnswerError

WHOLE = b"HTTP/1.1 201 Created\r\nX-Served-By: api-2\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def serving(*answers, hang_up=False):
    """Gives each request the next answer, in the parts that it comes in; the client's URL, and its connections."""
    left, connections = list(answers), []

    async def serve(reader, writer):
        connections.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(2)
            for part in left.pop(0):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)  # so that the parts arrive one by one
            if hang_up:
                writer.close()
                return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events", connections
    finally:
        server.close()
        for writer in connections:
            writer.close()


async def test_an_answer_in_parts_is_kept_whole_and_its_connection_is_used_again():
    async with serving([WHOLE[:30], WHOLE[30:-2], WHOLE[-2:]], [WHOLE]) as (url, connections):
        client = HttpClient(url, timeout_s=5, keep_bytes=1000)
        for _ in range(2):
            reply = await client.post({}, b"{}")
            assert (reply.status, reply.body, reply.served_by) == (201, b"hello", "api-2")
        assert len(connections) == 1
        client.close()


async def test_an_answer_that_is_cut_is_none_though_its_status_came():
    async with serving([WHOLE[:-2]], hang_up=True) as (url, _):
        client = HttpClient(url, timeout_s=5, keep_bytes=1000)
        with pytest.raises(NoAnswerError, match="reset"):
            await client.post({}, b"{}")
        client.close()


async def test_an_answer_whose_end_does_not_come_in_time_is_none():
    async with serving([WHOLE[:-2]]) as (url, _):
        client = HttpClient(url, timeout_s=0.3, keep_bytes=1000)
        with pytest.raises(NoAnswerError, match="timeout"):
            await client.post({}, b"{}")
        client.close()


async def test_of_a_long_answer_so_much_is_kept_and_the_rest_is_not_waited_for():
    endless = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000\r\n\r\n"
    async with serving([endless, b"x" * 600]) as (url, _):
        client = HttpClient(url, timeout_s=5, keep_bytes=500)
        reply = await client.post({}, b"{}")
        assert (reply.status, reply.body) == (400, b"x" * 500)
        assert client.idle_connections == 0
        client.close()
