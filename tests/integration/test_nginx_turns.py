"""The door gives its replicas turns, and one that is dead or hangs costs little: the real nginx before three toys."""

import asyncio
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from control_room.stack.local import nginx
from control_room.stack.runtime import API_REPLICAS
from tests.integration.fixtures_stores import free_port, until

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
REQUEST = b"POST /events HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n{}"


class Replica:
    """Answers every request at once, or none."""

    def __init__(self):
        self.asked = 0
        self.hangs = False

    async def serve(self, reader, writer):
        try:
            while await reader.readuntil(b"{}"):
                self.asked += 1
                if not self.hangs:
                    writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
def ports():
    return {name: free_port() for name in ("nginx", *API_REPLICAS)}


@contextmanager
def door(folder, ports):
    nginx.configure(folder, ports)
    process = subprocess.Popen(nginx.command(folder))
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@asynccontextmanager
async def replicas(ports, *, without=()):
    toys = {name: Replica() for name in API_REPLICAS if name not in without}
    servers = [await asyncio.start_server(toy.serve, "127.0.0.1", ports[name]) for name, toy in toys.items()]
    yield toys
    for server in servers:
        server.close()


async def ask(port, times=1):
    """Sends one after the other through one connection; the status of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for _ in range(times):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        found.append(int(head.split(None, 2)[1]))
    writer.close()
    return found


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def run(scenario, folder, ports, **replica_options):
    async def whole():
        async with replicas(ports, **replica_options) as toys:
            await scenario(toys)

    with door(folder, ports):
        until(lambda: listens(ports["nginx"]))
        asyncio.run(whole())


def test_for_a_tenth_of_a_second_every_request_goes_to_one_replica_and_each_gets_its_share(tmp_path, ports):
    async def scenario(toys):
        began_s, switches, last, sent = time.monotonic(), 0, None, 0
        while time.monotonic() - began_s < 4:
            before = {name: toy.asked for name, toy in toys.items()}
            assert await ask(ports["nginx"], 5) == [200] * 5
            sent += 5
            now = next(name for name, toy in toys.items() if toy.asked > before[name])
            switches, last = switches + (now != last), now
        assert switches <= 45
        assert sum(toy.asked for toy in toys.values()) == sent
        assert min(toy.asked for toy in toys.values()) > sent / 15

    run(scenario, tmp_path, ports)


def test_a_dead_replica_costs_no_request(tmp_path, ports):
    async def scenario(toys):
        for _ in range(100):
            assert await ask(ports["nginx"], 5) == [200] * 5
            await asyncio.sleep(0.01)  # so that every replica has had several turns
        assert all(toy.asked for toy in toys.values())

    run(scenario, tmp_path, ports, without=("ingestion-api-2",))


def test_a_replica_that_hangs_keeps_few_requests_and_the_others_take_the_rest(tmp_path, ports):
    async def scenario(toys):
        toys["ingestion-api-2"].hangs = True
        under_way = []
        for _ in range(400):
            under_way.append(asyncio.create_task(ask(ports["nginx"])))
            await asyncio.sleep(0.005)  # a steady stream over several turns
        _, held = await asyncio.wait(under_way, timeout=2)
        assert 0 < toys["ingestion-api-2"].asked <= nginx.MOST_AT_ONCE
        assert len(held) == toys["ingestion-api-2"].asked
        assert [task.result() for task in under_way if task.done()] == [[200]] * (400 - len(held))
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    run(scenario, tmp_path, ports)
