"""The proxy of the links: what each mode does to real connections, and that nothing leaks through a cut."""

import json
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tests.unit.link_proxy import DOOR, Echo, Proxy, is_mute, receive, timed_ms
from tests.unit.member_processes import free_port, wait_until

BLOCK = b"x" * 65536


@pytest.fixture(scope="module")
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture(scope="module")
def running(echo, tmp_path_factory):
    made = Proxy(tmp_path_factory.mktemp("links"), {DOOR: echo.port})
    yield made
    assert made.close()[0] == 0


@pytest.fixture
def proxy(running):
    """It passes everything on, before and after."""
    running.set("pass")
    yield running
    running.set("pass")


@pytest.fixture
def client(proxy):
    with proxy.dial() as connection:
        yield connection


def test_what_passes_is_passed_unchanged_and_counted(proxy, client):
    sent = bytes(range(256)) * 8192
    writer = threading.Thread(target=client.sendall, args=(sent,))
    writer.start()
    assert receive(client, len(sent)) == sent
    writer.join()
    since = proxy.door()["since"]
    assert (since["bytes_up"], since["bytes_down"], since["accepted"]) == (len(sent), len(sent), 1)


def test_half_of_a_connection_may_end_while_the_other_half_goes_on(client):
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"last wordsbye"


def test_an_end_is_passed_on_and_forgotten(proxy, client):
    timed_ms(client, b"hello")
    client.close()
    wait_until(lambda: proxy.door()["open"] == 0)


def test_a_reset_by_the_server_is_a_reset_for_the_client(proxy, client, echo):
    timed_ms(client, b"hello")
    echo.taken[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    echo.taken[-1].shutdown(socket.SHUT_RD)
    echo.taken[-1].close()
    with pytest.raises(ConnectionResetError):
        while client.recv(1) or not client.send(b"x"):
            pass
    wait_until(lambda: proxy.door()["open"] == 0)


def test_a_server_that_does_not_read_stops_the_client_and_fills_no_memory(proxy, echo):
    echo.deaf = True
    try:
        with proxy.dial(timeout_s=0.5) as client:
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 2**30:
                    sent += client.send(BLOCK)
            # What the kernel's own buffers take, and two reads of the proxy.
            assert proxy.door()["since"]["bytes_up"] < 40 * 2**20
            assert psutil.Process(proxy.process.pid).memory_info().rss < 80 * 2**20
    finally:
        echo.deaf = False
        echo.taken[-1].close()
    wait_until(lambda: proxy.door()["open"] == 0)


def test_refusing_resets_what_is_open_and_lets_nobody_in(proxy, client):
    timed_ms(client, b"hello")
    door = proxy.set("refuse")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        proxy.dial()
    assert (door["open"], door["since"]["resets"]) == (0, 1)
    since = proxy.door()["since"]
    assert (since["bytes_up"], since["bytes_down"]) == (0, 0)
    proxy.set("pass")
    with proxy.dial() as again:
        timed_ms(again, b"hello again")


def test_silence_keeps_connections_and_lets_no_byte_through_until_it_ends(proxy, client):
    timed_ms(client, b"hello")
    proxy.set("silence")
    client.sendall(b"anybody there?")
    with proxy.dial() as late:
        late.sendall(b"and me?")
        assert is_mute(client)
        assert is_mute(late)
        since = proxy.door()["since"]
        assert (since["bytes_up"], since["bytes_down"], since["accepted"]) == (0, 0, 0)
        proxy.set("pass")
        assert receive(client, 14) == b"anybody there?"
        assert receive(late, 7) == b"and me?"


def test_silence_tells_nobody_of_an_end_either(proxy, client, echo):
    timed_ms(client, b"hello")
    server = echo.taken[-1]
    proxy.set("silence")
    server.shutdown(socket.SHUT_RDWR)
    assert is_mute(client)
    proxy.set("pass")
    assert client.recv(1) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell that a client has hung up")
def test_a_client_that_gave_up_on_a_silent_door_is_not_heard_afterwards(proxy, echo):
    proxy.set("silence")
    before = len(echo.taken)
    with proxy.dial() as gone:
        gone.sendall(b"too late")
    with proxy.dial() as patient:
        patient.sendall(b"still here")
        proxy.set("pass")
        assert receive(patient, 10) == b"still here"
    assert len(echo.taken) == before + 1


def test_a_client_that_fills_a_silent_door_is_stopped(proxy, client):
    proxy.set("silence")
    client.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 2**30:
            sent += client.send(BLOCK)
    assert proxy.door()["held_bytes"] < 2**20


def test_latency_is_added_in_each_direction_and_measured(proxy, client):
    assert min(timed_ms(client, b"hello") for _ in range(5)) < 100  # of one, a busy machine decides
    proxy.set("slow", latency_ms=100)
    took_ms = timed_ms(client, b"hello")
    assert took_ms >= 200
    late = proxy.door()["since"]["late"]
    assert late["pieces"] == 2
    assert 100 <= late["least_ms"] <= late["mean_ms"] <= late["most_ms"] <= took_ms


def test_jitter_changes_the_delay_and_never_the_order(proxy, client):
    proxy.set("slow", latency_ms=30, jitter_ms=30)
    for number in range(100):
        client.sendall(b"%02d" % number)
        time.sleep(0.002)
    assert receive(client, 200) == b"".join(b"%02d" % number for number in range(100))
    late = proxy.door()["since"]["late"]
    assert late["least_ms"] < 25
    assert late["most_ms"] > 32


def test_a_slow_link_does_not_get_slower_with_every_byte(proxy, client):
    """Latency is not throughput: a stream comes as late at its end as at its begin."""
    proxy.set("slow", latency_ms=50)
    sent = b"y" * 2**20
    writer = threading.Thread(target=client.sendall, args=(sent,))
    began_s = time.monotonic()
    writer.start()
    assert receive(client, len(sent)) == sent
    writer.join()
    assert time.monotonic() - began_s < 3


def test_bytes_a_second_are_held_to(proxy, client):
    proxy.set("slow", bytes_per_s=100_000)
    sent = b"z" * 50_000
    took_ms = timed_ms(client, sent)
    # Half a second one way; the way back begins with the first piece.
    assert 500 <= took_ms < 1500


def test_what_was_late_is_delivered_in_order_when_the_link_is_healed(proxy, client):
    proxy.set("slow", latency_ms=60_000)
    client.sendall(b"one ")
    wait_until(lambda: proxy.door()["held_bytes"] == 4)
    proxy.set("pass")
    client.sendall(b"two")
    assert receive(client, 7) == b"one two"


def test_what_is_late_when_silence_falls_stays(proxy, client):
    proxy.set("slow", latency_ms=200)
    client.sendall(b"hello")
    wait_until(lambda: proxy.door()["held_bytes"] == 5)
    proxy.set("silence")
    assert is_mute(client, 0.5)
    assert proxy.door()["since"]["bytes_up"] == 0
    proxy.set("pass")
    assert receive(client, 5) == b"hello"


def test_an_end_comes_after_the_bytes_that_are_late(proxy, client):
    proxy.set("slow", latency_ms=50)
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"hellobye"


def test_a_connection_is_reset_after_its_bytes_in_both_directions_and_so_is_the_next(proxy):
    proxy.set("reset-after", bytes=10)
    for _ in range(2):
        with proxy.dial() as client:
            client.sendall(b"1234")
            assert receive(client, 4) == b"1234"
            client.sendall(b"5678")
            with pytest.raises(ConnectionResetError):
                while client.recv(1):
                    pass
    since = proxy.door()["since"]
    assert since["resets"] == 2
    assert since["bytes_up"] + since["bytes_down"] == 20


def test_bytes_before_the_fault_do_not_count_for_its_reset(proxy, client):
    timed_ms(client, b"12345678")
    proxy.set("reset-after", bytes=9)
    client.sendall(b"1234")
    assert receive(client, 4) == b"1234"
    client.sendall(b"5")
    with pytest.raises(ConnectionResetError):
        while client.recv(1):
            pass


def test_the_door_to_a_server_that_is_not_there_refuses_until_it_is_back(tmp_path):
    port = free_port()
    proxy = Proxy(tmp_path, {DOOR: port})
    try:
        with pytest.raises(ConnectionResetError), proxy.dial() as first:  # it may come before connect() has returned
            first.recv(1)
        with pytest.raises(ConnectionRefusedError):
            proxy.dial()
        assert proxy.door()["dial_failures"] == 1
        with socket.create_server(("127.0.0.1", port)) as server:
            wait_until(lambda: answers_to_dial(proxy))
            with proxy.dial() as client:
                client.sendall(b"hello")
                assert any(receive(server.accept()[0], 5) == b"hello" for _ in range(3))
    finally:
        proxy.close()


def answers_to_dial(proxy):
    try:
        proxy.dial().close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_proxy_that_was_killed_goes_on_as_it_was_told(echo, tmp_path):
    proxy = Proxy(tmp_path, {DOOR: echo.port})
    try:
        proxy.set("refuse")
        proxy.process.kill()
        proxy.process.communicate()
        proxy.socket_path.unlink()
        proxy.start()
        assert proxy.door()["mode"] == "refuse"
        with pytest.raises(ConnectionRefusedError):
            proxy.dial()
    finally:
        assert proxy.close()[0] == 0


def test_a_port_that_is_taken_ends_the_proxy_with_its_name(echo, tmp_path):
    proxy = Proxy(tmp_path, {DOOR: echo.port})
    try:
        second = subprocess.run(
            [sys.executable, "-m", "control_room.stack.links", str(proxy.plan)], capture_output=True, text=True
        )
        assert second.returncode == 2
        assert f"port {proxy.ports[DOOR]} ({DOOR}) cannot be listened on: Address already in use" in second.stderr
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (b"hello", "a request is a JSON object"),
        (b"[]", 'asks for "state" or to "set"'),
        (b'{"ask": "dance"}', 'asks for "state" or to "set"'),
        (b'{"ask": "set"}', "`doors` must be a list of names"),
        (b'{"ask": "set", "doors": ["a:b"], "mode": {"mode": "pass"}}', "there is no door a:b"),
        (b'{"ask": "set", "doors": ["dispatcher:postgres"]}', "`mode` must be an object"),
        (b'{"ask": "set", "doors": ["dispatcher:postgres"], "mode": {"mode": "cut"}}', "mode must be one of pass,"),
        (b"x" * 100_000, "one line of at most"),
    ],
)
def test_what_the_proxy_does_not_understand_is_answered_in_a_sentence(proxy, asked, words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(proxy.socket_path))
        connection.sendall(asked + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
    assert words in answer["error"]
    assert proxy.door()["mode"] == "pass"
