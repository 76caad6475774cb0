"""A replay killed with -9 and resumed: its log tells the truth, and nothing is left out."""

import asyncio
import subprocess
import sys
import threading

from control_room.replay.options import ReplayOptions
from control_room.replay.replay import Replay, prepare, run_replay
from control_room.replay.run_folder import open_run
from services.common.chain import read_chain
from services.common.signing import Secrets
from tests.integration.fixtures_stores import until
from tests.unit import replay_sources as sources
from tests.unit.replay_api import Api, serving

SECRET = "crash-test-secret-0123456789"
CLIENT = """
import sys
from pathlib import Path
from control_room.replay.replay import Replay, run_replay
from control_room.replay.run_folder import open_run
from services.common.signing import Secrets
run, url, secret, resume = sys.argv[1:]
run_replay(Replay(open_run(Path(run)), url, Secrets.parse(secret), resume=resume == "resume"))
"""


class _ApiThread:
    def __init__(self):
        self.api, self._ready = Api(), threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.api) as self.url:
            self._ready.set()
            await self._end.wait()


def test_a_client_killed_twice_and_resumed_leaves_no_payment_out_and_no_request_unlogged(tmp_path):
    source = sources.write(tmp_path / "source.csv", 1500)
    folder = prepare(ReplayOptions(source=source), tmp_path / "runs", ledger_from=0)
    with _ApiThread() as server:
        for life, resume in enumerate(("begin", "resume")):
            reached = threading.Event()

            def look(document, upto=400 * (life + 1), reached=reached):
                if len(server.api.requests) >= upto:
                    reached.set()

            server.api.on_request = look
            client = subprocess.Popen([sys.executable, "-c", CLIENT, folder.path, server.url, SECRET, resume])
            try:
                assert reached.wait(30)
            finally:
                client.kill()
                client.wait(10)
            until(lambda: server.api.connections() == 0)  # what a dead client has sent is still read
        server.api.on_request = lambda document: None
        sent_before = len(server.api.requests)
        summary = run_replay(Replay(open_run(folder.path), server.url, Secrets.parse(SECRET), resume=True))
        received = server.api.ids()
    with folder.operations_path.open("rb") as file:
        log = list(read_chain(file))
    assert summary.skipped > 0
    assert summary.skipped + summary.accepted == 1500
    assert set(received) == {sources.transaction_id(number) for number in range(1500)}
    assert set(received) <= {record["id"] for record in log if record["k"] == "invoke"}
    assert len(received) - 1500 <= 2 * 32 + 2 * 200, "only what had no answer in the file was sent again"
    assert len(received) - sent_before == summary.requests
    assert (log[-1]["k"], log[-1]["ops"]) == ("end", sum(record["k"] == "invoke" for record in log))
    operations = [record["op"] for record in log if record["k"] == "invoke"]
    assert operations == list(range(len(operations)))
