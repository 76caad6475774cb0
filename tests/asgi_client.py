"""A client of an ASGI application in this process, for tests that are not coroutines themselves."""

import asyncio
import threading

import httpx


def _running_loop():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asgi", daemon=True).start()
    return loop


LOOP = _running_loop()
"""The loop in which applications run, and that their writers are started with."""


def in_loop(coroutine):
    """What `coroutine` comes to, run in the loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(60)


class AsgiClient:
    """Requests to `app`, from any thread."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app)

    def request(self, method, path, **what):
        async def run():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://api") as client:
                return await client.request(method, path, **what)

        return in_loop(run())

    def get(self, path, **what):
        return self.request("GET", path, **what)

    def post(self, path, data=b"", content_type="application/json", headers=None):
        return self.request("POST", path, content=data, headers={"Content-Type": content_type, **(headers or {})})
