"""The control room in a browser: textual-serve's server on loopback, behind a token that stands in every URL.

Each page that is opened is an app of its own, in a process of its own, which ends with the page.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

LOOPBACK: Final = "127.0.0.1"
LEAVE_S: Final = 2.0
"""How long the app of a page that was closed has to end by itself."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def listening(port: int) -> socket.socket:
    """A socket on loopback; port 0 is a free one. Raises OSError where the port is taken."""
    return socket.create_server((LOOPBACK, port))


class PageApp(AppService):
    """The app of one page. Ends with it, whatever hangs."""

    async def stop(self) -> None:
        """Asks it to end, reads what it still writes, and kills it when it takes too long.

        textual-serve's own reads no more once the page is gone: an app that still draws then waits for ever.
        """
        process, task = self._process, self._task
        self._process = self._task = None
        if task is None or process is None:
            return
        try:
            await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.send_meta({"type": "quit"})
            async with asyncio.timeout(LEAVE_S):
                await process.communicate()
        except TimeoutError:
            pass  # killed below
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


class TokenServer(Server):
    """textual-serve's server below `/TOKEN/`; whatever comes without the token is answered with 403."""

    def __init__(self, command: str, port: int, token: str) -> None:
        """`command` starts the app and is read by a shell, which it replaces (`exec`); `port` is listened on."""
        super().__init__(command, host=LOOPBACK, port=port, title="bruce-control")
        self._token = token
        self._pages: set[web.WebSocketResponse] = set()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"{self.public_url}/{self._token}/"

    async def _make_app(self) -> web.Application:
        """Everything of textual-serve under the token; textual-serve makes its addresses from the routes."""
        root = web.Application(middlewares=[self._guard])
        # Its script asks for files at the root, wherever the page lies.
        root.router.add_get("/download/{key}", self.handle_download)
        root.add_subapp(f"/{self._token}", await super()._make_app())
        root.on_response_prepare.append(self._private)
        return root

    async def on_startup(self, app: web.Application) -> None:
        """Says nothing: whoever serves tells the address."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Closes the pages that are open, and so ends their apps."""
        del app
        for page in list(self._pages):
            await page.close(code=WSCloseCode.GOING_AWAY)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One page: its app runs as long as this."""
        page = web.WebSocketResponse(heartbeat=15)
        if not page.can_prepare(request):
            raise web.HTTPBadRequest(text="This address is for a websocket.\n")
        await page.prepare(request)

        async def close() -> None:
            await page.close()

        service = PageApp(
            self.command,
            write_bytes=page.send_bytes,
            write_str=page.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        self._pages.add(page)
        try:
            await service.start(to_int(request.query.get("width", ""), 80), to_int(request.query.get("height", ""), 24))
            await self._process_messages(page, service)
        finally:
            self._pages.discard(page)
            await service.stop()
        return page

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Failure policy: closed. Page, websocket, static files and downloads alike need the token."""
        if not hmac.compare_digest(self._shown_token(request).encode(), self._token.encode()):
            raise web.HTTPForbidden(text="The token is missing or wrong: use the address that was printed.\n")
        return await handler(request)

    def _shown_token(self, request: web.Request) -> str:
        """The first part of the path; for a download, of the page's that asked for it."""
        path = request.path
        if path.startswith("/download/"):
            page = urlsplit(request.headers.get("Referer", ""))
            path = page.path if f"{page.scheme}://{page.netloc}" == self.public_url else ""
        return path.removeprefix("/").partition("/")[0]

    async def _private(self, _: web.Request, response: web.StreamResponse) -> None:
        """The address, and the token in it, is told to nobody else; nothing is loaded from anywhere else."""
        own = f"{self.public_url} {self.public_url.replace('http', 'ws', 1)}"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = f"default-src {own} data: blob: 'unsafe-inline' 'unsafe-eval'"

    def run(self, listener: socket.socket) -> None:
        """Serves until Ctrl-C or SIGTERM; the apps of pages that are open end with it."""
        web.run_app(self._make_app(), sock=listener, print=None, access_log=None, shutdown_timeout=2 * LEAVE_S)
