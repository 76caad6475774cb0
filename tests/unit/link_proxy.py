"""A proxy process with one door to a server of the test's own; plain sockets on both sides."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

from control_room.stack.links.client import Links, LinksError
from control_room.stack.links.modes import parse
from tests.unit.member_processes import free_port, wait_until

DOOR = "dispatcher:postgres"


class Echo:
    """Answers with what it gets. `deaf`: it accepts and reads nothing. Remembers its connections."""

    def __init__(self):
        self.deaf = False
        self.taken = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.taken.append(connection)
                if not self.deaf:
                    threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection):
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.sendall(b"bye")

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.taken:
            connection.close()


class Proxy:
    """The process, with the doors given as name → server's port."""

    def __init__(self, folder, doors):
        self.plan = folder / "links.json"
        self.ports = {name: free_port() for name in doors}
        self.socket_path = folder / "links.sock"
        where = {name: {"port": self.ports[name], "to": to} for name, to in doors.items()}
        plan = {"socket": str(self.socket_path), "modes": str(folder / "modes.json"), "doors": where}
        self.plan.write_text(json.dumps(plan))
        self.links = Links(self.socket_path, self.ports)
        self.start()

    def start(self):
        command = [sys.executable, "-m", "control_room.stack.links", str(self.plan)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: self._answers() or self.process.poll() is not None)

    def _answers(self):
        """The socket's file is there a moment before anybody listens at it."""
        try:
            self.links.state()
        except LinksError:
            return False
        return True

    def set(self, mode, **numbers):
        doors = self.links.set(list(self.ports), parse({"mode": mode, **numbers}))["doors"]
        return next(iter(doors.values()))

    def door(self, name=DOOR):
        return self.links.state()["doors"][name]

    def dial(self, name=DOOR, timeout_s=5.0):
        return socket.create_connection(("127.0.0.1", self.ports[name]), timeout_s)

    def close(self):
        self.process.terminate()
        _, said = self.process.communicate(timeout=10)
        return self.process.returncode, said


def receive(connection, count):
    """Exactly `count` bytes, or what came before the end."""
    data = b""
    while len(data) < count and (block := connection.recv(count - len(data))):
        data += block
    return data


def is_mute(connection, for_s=0.3):
    """Whether nothing comes for so long."""
    before = connection.gettimeout()
    connection.settimeout(for_s)
    try:
        return connection.recv(1) is None
    except TimeoutError:
        return True
    finally:
        connection.settimeout(before)


def timed_ms(connection, data):
    began_s = time.monotonic()
    connection.sendall(data)
    assert receive(connection, len(data)) == data
    return (time.monotonic() - began_s) * 1000
