"""The control room in a browser: nothing without the token, nothing from elsewhere, and no app outlives its page."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys

import aiohttp
import psutil
import pytest
from aiohttp import web

from control_room.ui.browser import LOOPBACK, TokenServer, listening, new_token

APP = """
import struct, sys, time
out = sys.stdout.buffer
out.write(b"__GANGLION__\\n")
while True:
    out.write(b"D" + struct.pack(">I", 4096) + b"x" * 4096)
    out.flush()
    time.sleep({pause_s})
"""
"""Draws without an end and hears nothing, as an app does that hangs. No test waits for its pause."""


@pytest.fixture
async def serving():
    runners = []

    async def start(command="exec true"):
        listener = listening(0)
        server = TokenServer(command, listener.getsockname()[1], new_token())
        runner = web.AppRunner(await server._make_app())
        await runner.setup()
        await web.SockSite(runner, listener).start()
        runners.append(runner)
        return server

    async with aiohttp.ClientSession() as session:
        yield start, session
    for runner in runners:
        await runner.cleanup()


PLACES = ("", "ws", "static/js/textual.js", "static/", "download/0", "nothing")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", [None, "wrong", "ü", "%00", "half"])
async def test_without_the_token_everything_is_forbidden(serving, place, token):
    start, session = serving
    server = await start()
    right = server.url.rstrip("/").rpartition("/")[2]
    wrong = {"half": f"/{right[:-1]}", None: ""}.get(token, f"/{token}")
    async with session.get(f"{server.public_url}{wrong}/{place}") as answer:
        assert answer.status == 403
        assert right not in await answer.text()
    async with session.post(f"{server.public_url}{wrong}/{place}?token={right}") as answer:
        assert answer.status == 403


async def test_a_websocket_without_the_token_is_forbidden(serving):
    start, session = serving
    server = await start()
    for place in ("/ws", "/wrong/ws"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(server.public_url + place)
        assert refused.value.status == 403


async def test_with_the_token_the_page_and_all_that_it_names_are_there(serving):
    start, session = serving
    server = await start()
    async with session.get(server.url) as answer:
        assert answer.status == 200
        page = await answer.text()
        headers = answer.headers
    assert f'href="{server.url}static/css/xterm.css"' in page
    assert f'"{server.url.replace("http", "ws")}ws"' in page
    for place in ("static/css/xterm.css", "static/js/textual.js"):
        async with session.get(server.url + place) as answer:
            assert answer.status == 200
    async with session.get(server.url + "ws") as answer:
        assert answer.status == 400
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "google" not in headers["Content-Security-Policy"]


async def test_a_download_is_given_to_the_page_with_the_token_alone(serving):
    start, session = serving
    server = await start()
    asked = server.public_url + "/download/none"
    for page, status in (
        (server.url, 404),  # let through: there is no such file
        (server.public_url + "/wrong/", 403),
        (server.url.replace(LOOPBACK, "elsewhere.example"), 403),
        ("", 403),
    ):
        async with session.get(asked, headers={"Referer": page}) as answer:
            assert answer.status == status, page


async def test_it_listens_on_loopback_alone(serving):
    start, _ = serving
    server = await start()
    listener = listening(0)
    assert listener.getsockname()[0] == LOOPBACK
    listener.close()
    own = [
        found.laddr.ip
        for found in psutil.Process().net_connections("tcp")
        if found.laddr and found.laddr.port == server.port
    ]
    assert set(own) == {LOOPBACK}


async def gone(pid, deadline_s=10.0):
    until_s = asyncio.get_running_loop().time() + deadline_s
    while psutil.pid_exists(pid):
        assert asyncio.get_running_loop().time() < until_s, "the app outlives its page"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("pause_s", [0, 3600])
async def test_an_app_that_hangs_ends_with_its_page(serving, pause_s):
    start, session = serving
    before = set(psutil.Process().children())  # those of other tests, such as multiprocessing's own
    server = await start(shlex.join(["exec", sys.executable, "-c", APP.format(pause_s=pause_s)]))
    async with session.ws_connect(server.url + "ws") as page:
        assert (await page.receive()).data
        (app,) = set(psutil.Process().children()) - before
        assert app.cmdline()[0] == sys.executable
    await gone(app.pid)


@pytest.mark.parametrize("read_only", [False, True])
async def test_serve_prints_the_address_draws_the_app_and_leaves_nothing_running(tmp_path, read_only):
    environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "control_room.cli", "serve", "--port", "0", "--state", str(tmp_path / "state")]
    serve = subprocess.Popen(
        [*command, *(["--read-only"] if read_only else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
    )
    try:
        url = await asyncio.to_thread(serve.stdout.readline)
        drawn = b""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url.strip() + "ws?width=120&height=34") as page,
        ):
            await page.send_str(json.dumps(["resize", {"width": 120, "height": 34}]))
            async with asyncio.timeout(60):
                while b"No stack is up." not in drawn:
                    drawn += (await page.receive()).data
            assert (b"read-only" in drawn) is read_only
            (app,) = psutil.Process(serve.pid).children()
            serve.send_signal(signal.SIGINT)  # while the page is open
            await asyncio.to_thread(serve.wait, 20)
        assert not psutil.pid_exists(app.pid)
        assert not (tmp_path / "state").exists()
    finally:
        serve.kill()
        serve.wait()
        serve.stdout.close()


def test_a_port_that_is_taken_is_told(tmp_path):
    from tests.unit.test_cli import bruce

    with listening(0) as taken:
        done = bruce(tmp_path, "serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "--port 0" in done.stderr
