"""The merchant-server's application in this process, on a free port, for tests of what it answers."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace

import aiohttp
from aiohttp import web

from services.common.chain import read_chain
from services.common.signing import Secrets
from services.merchant_server.app import MerchantApp
from services.merchant_server.behaviour import Behaviour, Mode
from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.kept import KeptBehaviour
from services.merchant_server.ledger import LedgerFile
from services.merchant_server.listener import WebhookListener

SECRETS = Secrets.parse("merchant-test-secret-0123456789")
ID = "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f"


def body(transaction_id=ID, **fields):
    return json.dumps({"Transaction ID": transaction_id, **fields}, sort_keys=True).encode()


def headers(content, transaction_id=ID, secrets=SECRETS, now_s=None, **others):
    now_s = int(now_s or time.time())
    return {
        "Content-Type": "application/json",
        "X-HMAC-Signature": secrets.sign(content),
        "webhook-id": transaction_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": secrets.webhook_signature(transaction_id, now_s, content),
        "X-Bruce-Record": "1@42",
        "X-Bruce-Attempt": "1.2",
        "X-Bruce-Dispatcher": "dispatcher",
        **others,
    }


class Merchant:
    def __init__(self, url, session, path, parts):
        self.url, self.session, self.path = url, session, path
        self.ledger, self.commits, self.listener = parts
        self.groups = []

    async def deliver(self, transaction_id=ID, *, timeout_s=10, content=None, sent=None):
        """The status of one delivery; 'timeout' or 'reset' where there was no answer."""
        content = body(transaction_id) if content is None else content
        try:
            async with self.session.post(
                f"{self.url}/webhook_listener",
                data=content,
                allow_redirects=False,
                headers=headers(content, transaction_id) if sent is None else sent,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                await response.read()
                return response.status
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            return "reset"

    async def get(self, path):
        async with self.session.get(self.url + path) as response:
            return SimpleNamespace(status=response.status, body=await response.read(), headers=response.headers)

    async def behave(self, **changes):
        async with self.session.put(f"{self.url}/admin/behaviour", json=changes) as response:
            return response.status, await response.json()

    async def settled(self, lines):
        """The ledger's records, once it holds so many."""
        deadline = time.monotonic() + 30
        while self.ledger.synced.lines < lines and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return self.records()

    def records(self):
        with self.path.open("rb") as file:
            return list(read_chain(file))


@asynccontextmanager
async def merchant(path, *, hang_s=30.0, secrets=SECRETS, mode="normal", **behaviour):
    ledger = LedgerFile(path)
    groups = []
    commits = GroupCommit(ledger, lambda lines, duration_s: groups.append(lines))
    behaviour = Behaviour(**{"failure_rate": 0.0, "hang_s": hang_s, **behaviour, "mode": Mode(mode)})
    kept = KeptBehaviour(path, behaviour)
    listener = WebhookListener(commits, secrets, kept.load(caller_timeout_s=0.1), Random(1))
    app = MerchantApp(ledger, commits, listener, kept, caller_timeout_s=0.1)
    runner = web.AppRunner(app.make(), access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            found = Merchant(url, session, path, (ledger, commits, listener))
            found.groups = groups
            yield found
    finally:
        app.stopping.set()
        commits.wake_followers()
        listener.drop_hanging()
        await runner.cleanup()
        await commits.close(5)
        ledger.close()
