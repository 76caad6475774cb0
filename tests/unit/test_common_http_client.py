"""The HTTP client where what an answer says counts; as the dispatcher uses it: test_dispatcher_deliver."""

import asyncio
import gc
import socket
import time
from contextlib import asynccontextmanager

import pytest
import uvloop

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


@pytest.mark.parametrize("ends", ["timeout", "reset", "closed", "kept"])
def test_a_request_that_is_over_leaves_nothing_for_the_search_for_garbage(ends):
    """The services make that search rarely: what only it can free piles up, connection by connection."""

    async def request():
        answer = WHOLE.replace(b"\r\nX", b"\r\nConnection: close\r\nX") if ends == "closed" else WHOLE
        parts = {"timeout": [WHOLE[:20]], "reset": [WHOLE[:20]]}.get(ends, [answer])
        async with serving(parts, parts, hang_up=ends == "reset") as (url, _):
            client = HttpClient(url, timeout_s=0.2)
            for _ in range(2):
                await asyncio.gather(client.post({}, b"{}"), return_exceptions=True)
            client.close()
            del client  # it holds those that are idle
            async with asyncio.timeout(10):
                while leftovers():
                    await asyncio.sleep(0.01)  # the loop tells a connection of its end in a later round

    def leftovers():
        kinds = asyncio.Protocol, NoAnswerError
        return sum(isinstance(one, kinds) and type(one).__module__ == HttpClient.__module__ for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        uvloop.run(request())
        assert leftovers() == 0
    finally:
        gc.enable()


def test_a_loop_that_was_late_itself_does_not_call_the_other_side_late():
    """Without processor time for longer than a request may take, the client finds the answer in the socket."""

    async def request(server):
        client = HttpClient(f"http://127.0.0.1:{server.getsockname()[1]}/hook", timeout_s=0.3)
        answer = asyncio.create_task(client.post({}, b"{}"))
        caller, _ = await asyncio.to_thread(server.accept)
        with caller:
            assert await asyncio.to_thread(caller.recv, 65536)
            caller.sendall(WHOLE)
            time.sleep(0.5)  # the loop stands still: that is what is tested
            assert (await answer).status == 201
        client.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        uvloop.run(request(server))  # the services' own loop
