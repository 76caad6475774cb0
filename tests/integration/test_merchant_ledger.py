"""The merchant-server as a process of its own: what it acknowledged survives whatever kills it."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import aiohttp
import psutil
import pytest
import requests

from services.common.chain import read_chain

SECRET = "integration-secret-0123456789"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Member:
    """One merchant-server process after the other, on one port and one ledger."""

    def __init__(self, folder):
        self.path = folder / "ledger.jsonl"
        self.log = folder / "merchant.log"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self, **variables):
        self.spawn(**variables)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                requests.get(f"{self.url}/healthz", timeout=1)
                return
            except requests.ConnectionError:
                time.sleep(0.02)
        raise AssertionError(f"the merchant-server does not answer:\n{self.log.read_text()}")

    def spawn(self, **variables):
        environment = {
            **os.environ,
            "HMAC_SECRET": SECRET,
            "MERCHANT_PORT": str(self.port),
            "LEDGER_PATH": str(self.path),
            "FAILURE_RATE": "0",
            **variables,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.merchant_server"], env=environment, stdout=log, stderr=log
            )

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def records(self):
        with self.path.open("rb") as file:
            return list(read_chain(file))


@contextmanager
def _member(folder):
    member = Member(folder)
    try:
        yield member
    finally:
        if member.process is not None and member.process.poll() is None:
            member.kill()


@pytest.fixture
def member(tmp_path):
    with _member(tmp_path) as found:
        yield found


def _body(transaction_id):
    return json.dumps({"Transaction ID": transaction_id})


async def _deliver_until_dead(member, acknowledged, begin):
    """Deliveries side by side; each id goes to `acknowledged` when its 200 is seen."""
    numbers = iter(range(begin, begin + 1_000_000))

    async def one_after_the_other(session):
        for number in numbers:
            transaction_id = f"id-{number}"
            try:
                async with session.post(f"{member.url}/webhook_listener", data=_body(transaction_id)) as response:
                    if response.status == 200:
                        acknowledged.add(transaction_id)
            except (aiohttp.ClientError, OSError):
                return

    async def kill_under_load():
        wanted = len(acknowledged) + 300
        while len(acknowledged) < wanted:
            await asyncio.sleep(0.001)
        member.process.kill()

    async with aiohttp.ClientSession() as session:
        await asyncio.wait_for(
            asyncio.gather(kill_under_load(), *[one_after_the_other(session) for _ in range(16)]), 30
        )
    member.process.wait(10)


def test_every_acknowledged_delivery_survives_kill_9_again_and_again(member):
    acknowledged = set()
    for life in range(4):
        member.start(FAILURE_RATE="0.2", TIMEOUT_SHARE="0")
        asyncio.run(_deliver_until_dead(member, acknowledged, life * 1_000_000))
        with member.path.open("ab") as file:
            file.write(b'{"n":99999,"k":"req","id":"to')  # as if the kill had come inside the write
    member.start()
    records = member.records()
    delivered = [record["id"] for record in records if record["k"] == "req" and record["status"] == 200]
    assert len(acknowledged) >= 1200
    assert acknowledged <= set(delivered)
    assert [record["n"] for record in records] == list(range(len(records)))
    assert [record["k"] for record in records].count("start") == 5


def test_what_it_serves_over_http_is_its_file_across_a_kill(member):
    member.start()
    for number in range(5):
        assert requests.post(f"{member.url}/webhook_listener", data=_body(f"{number}"), timeout=5).status_code == 200
    member.kill()
    member.start()
    page = requests.get(f"{member.url}/ledger", params={"from": 3, "limit": 100}, timeout=5)
    assert page.content == b"".join(member.path.read_bytes().splitlines(keepends=True)[3:])
    assert (page.headers["X-Next-Line"], page.headers["X-Ledger-Lines"]) == ("7", "7")
    kinds = [record["k"] for record in read_chain(page.content.splitlines(keepends=True), trust_first=True)]
    assert kinds == ["req", "req", "req", "start"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_in_order_is_quick_and_leaves_0_and_no_traceback(member, number):
    member.start(FAILURE_RATE="1", TIMEOUT_SHARE="1")
    with socket.create_connection(("127.0.0.1", member.port)) as hanging:
        content = _body("hangs").encode()
        hanging.sendall(
            b"POST /webhook_listener HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        )
        deadline = time.monotonic() + 5
        while requests.get(f"{member.url}/admin/state", timeout=5).json()["hanging"] != 1:
            assert time.monotonic() < deadline
        began_s = time.monotonic()
        member.process.send_signal(number)
        assert member.process.wait(10) == 0
        assert time.monotonic() - began_s < 3
        assert hanging.recv(100) == b""
    assert "Traceback" not in member.log.read_text()
    assert [(record["k"], record.get("status")) for record in member.records()] == [("start", None), ("req", -1)]


def test_a_disk_that_is_full_is_a_503_and_never_a_200_until_there_is_room_again(member):
    """The limit of this process's file size stands for the disk's: the kernel refuses the write in the same way."""
    if not hasattr(psutil.Process, "rlimit"):
        pytest.skip("this platform cannot limit another process")
    member.start()
    process = psutil.Process(member.process.pid)
    assert requests.post(f"{member.url}/webhook_listener", data=_body("before"), timeout=5).status_code == 200
    size = member.path.stat().st_size
    hard = process.rlimit(resource.RLIMIT_FSIZE)[1]
    process.rlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
    for _ in range(3):
        refused = requests.post(f"{member.url}/webhook_listener", data=_body("during"), timeout=5)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    process.rlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert requests.post(f"{member.url}/webhook_listener", data=_body("after"), timeout=5).status_code == 200
    delivered = [record["id"] for record in member.records() if record.get("status") == 200]
    assert delivered == ["before", "after"]
    member.kill()
    member.start()
    assert {record["status"] for record in member.records() if record.get("id") == "during"} <= {503}


@pytest.mark.parametrize(
    ("variables", "status", "sentence"),
    [
        ({"FAILURE_RATE": "many"}, 2, "FAILURE_RATE: Input should be a valid number"),
        ({"HMAC_SECRET": ""}, 2, "HMAC_SECRET: is not set; make one with"),
        ({"LEDGER_PATH": "/proc/ledger.jsonl"}, 1, "LEDGER_PATH: cannot open /proc/ledger.jsonl"),
    ],
)
def test_a_start_that_cannot_be_is_one_sentence(member, variables, status, sentence):
    member.spawn(**variables)
    assert member.process.wait(20) == status
    said = member.log.read_text()
    assert sentence in said
    assert "Traceback" not in said


def test_a_port_or_a_ledger_that_is_taken_is_named(member, tmp_path):
    member.start()
    (tmp_path / "second").mkdir()
    with _member(tmp_path / "second") as second:
        second.spawn(MERCHANT_PORT=str(member.port))
        assert second.process.wait(20) == 1
        assert (
            f"MERCHANT_PORT: cannot listen on 127.0.0.1:{member.port}: Address already in use" in second.log.read_text()
        )
    with _member(tmp_path / "second") as third:
        third.spawn(LEDGER_PATH=str(member.path))
        assert third.process.wait(20) == 1
        assert "LEDGER_PATH: another merchant-server writes" in third.log.read_text()
    assert "Traceback" not in (tmp_path / "second" / "merchant.log").read_text()
