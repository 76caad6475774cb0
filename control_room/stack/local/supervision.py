"""supervisord: its configuration, starting it so that it outlives its starter, and talking to it.

supervisord brings back what crashes and keeps the logs short. What must survive its own death (which processes are
ours) is on disk, written by `launch`.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import psutil

from control_room.stack.local import environment, launch, processes
from control_room.stack.local.layout import Layout, write_json, write_private
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, NotRunningError, StackError

SUPERVISOR: Final = "supervisord"
LINKS: Final = "links"
"""The proxy of the links. It runs only in a stack that was started with them."""
LOG_BYTES: Final = 10_000_000
LOG_FILES: Final = 3
_STOP_SIGNAL: Final = {"postgres": "INT", "nginx": "QUIT"}
"""What each takes for a clean and quick end; the others take SIGTERM."""
_STOP_WAIT_S: Final = {**dict.fromkeys(BROKERS, 20), "postgres": 20, "nginx": 5, LINKS: 5}
_STOP_WAIT_SERVICE_S: Final = 15
"""More than the services' own grace of 10 s."""
_START_RETRIES: Final = 60
"""With the growing pauses between them, half an hour of trying."""
_ANSWER_S: Final = 5.0


class Faults:
    """Those of supervisord's fault codes that mean something here."""

    SHUTDOWN_STATE: Final = 6
    ALREADY_STARTED: Final = 60
    NOT_RUNNING: Final = 70


class Phase(StrEnum):
    """supervisord's own words for what a member is doing."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Supervised:
    """One member as supervisord sees it."""

    phase: Phase
    pid: int | None
    exit_status: int
    told_to_run: bool
    """Whether it is up, or will be without anybody's doing."""


def config_text() -> str:
    """supervisord's configuration. Paths come in through its environment, so no folder's name can break the syntax."""
    lines = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        "logfile=%(ENV_BRUCE_LOGS)s/supervisord.log",
        f"logfile_maxbytes={LOG_BYTES}",
        f"logfile_backups={LOG_FILES - 1}",
        "pidfile=%(ENV_BRUCE_RUN)s/supervisord.pid",
        "childlogdir=%(ENV_BRUCE_LOGS)s",
        "umask=077",
        "minfds=1024",
        "",
        "[unix_http_server]",
        "file=%(ENV_BRUCE_SOCKET)s",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for member in (*MEMBERS, LINKS):
        lines += ["", *_program(member)]
    return "\n".join(lines) + "\n"


def _program(member: str) -> list[str]:
    group = "false" if member in API_REPLICAS else "true"
    return [
        f"[program:{member}]",
        f'command="%(ENV_BRUCE_PYTHON)s" -I -S "%(ENV_BRUCE_LAUNCH)s" "%(ENV_BRUCE_SPECS)s/{member}.spec.json"',
        "autostart=false",
        "autorestart=unexpected",
        "exitcodes=0",
        "startsecs=1",
        f"startretries={_START_RETRIES}",
        f"stopsignal={_STOP_SIGNAL.get(member, 'TERM')}",
        f"stopwaitsecs={_STOP_WAIT_S.get(member, _STOP_WAIT_SERVICE_S)}",
        # An API replica hands the signal to its own workers in order; all at once would cut requests off.
        f"stopasgroup={group}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile=%(ENV_BRUCE_LOGS_TWICE)s/{member}.log",
        f"stdout_logfile_maxbytes={LOG_BYTES}",
        f"stdout_logfile_backups={LOG_FILES - 1}",
    ]


def _quoted(path: str) -> str:
    """A path as it may stand between the double quotes of a command in supervisord's configuration."""
    return path.replace("\\", "\\\\").replace('"', '\\"')


class Supervisor:
    """The supervisord of one stack. Its methods raise NotRunningError where it does not answer."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def start(self, environ: Mapping[str, str], timeout_s: float = 15.0) -> None:
        """Starts supervisord as nobody's child in a session of its own; returns when it answers.

        Raises:
            StackError: it did not come up; the message holds the end of its log.
        """
        layout = self._layout
        write_private(layout.supervisor_config, config_text())
        env = {
            **environment.system(environ),
            "BRUCE_PYTHON": _quoted(sys.executable),
            "BRUCE_LAUNCH": _quoted(launch.__file__),
            "BRUCE_SPECS": _quoted(str(layout.run_dir)),
            "BRUCE_RUN": str(layout.run_dir),
            "BRUCE_LOGS": str(layout.logs_dir),
            "BRUCE_LOGS_TWICE": str(layout.logs_dir).replace("%", "%%"),  # supervisord expands this one twice
            "BRUCE_SOCKET": str(layout.supervisor_socket),
        }
        argv = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(layout.supervisor_config)]
        spec = {"argv": argv, "env": env, "cwd": "/", "record": str(layout.pid_file(SUPERVISOR))}
        spec["detach"] = str(layout.supervisor_output)
        write_json(layout.spec_file(SUPERVISOR), spec)
        layout.supervisor_socket.unlink(missing_ok=True)
        command = [sys.executable, "-I", "-S", launch.__file__, str(layout.spec_file(SUPERVISOR))]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=timeout_s)
        deadline = time.monotonic() + timeout_s
        while not self.alive():
            if time.monotonic() > deadline:
                said = [*last_lines(layout.supervisor_log, 3), *last_lines(layout.supervisor_output, 3)]
                raise StackError("the supervisor did not start; it said:\n" + "\n".join(said or ["(nothing)"]))
            time.sleep(0.05)

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except NotRunningError:
            return False
        return True

    def process(self) -> psutil.Process | None:
        """Its process, also where it does not answer (frozen)."""
        note = processes.read_note(self._layout.pid_file(SUPERVISOR))
        return note.process() if note else None

    def members(self) -> dict[str, Supervised]:
        """Each member as supervisord sees it."""
        found = {}
        for entry in self._call("getAllProcessInfo"):
            phase = Phase(entry["statename"])
            told = phase in (Phase.STARTING, Phase.RUNNING, Phase.BACKOFF)
            found[entry["name"]] = Supervised(phase, entry["pid"] or None, entry["exitstatus"], told)
        return found

    def start_member(self, member: str) -> None:
        """Starts a member that is down; one that is up stays as it is."""
        with _ignoring(Faults.ALREADY_STARTED):
            self._call("startProcess", member, False)

    def stop_member(self, member: str) -> None:
        """Tells supervisord to end a member and not to bring it back; returns at once."""
        with _ignoring(Faults.NOT_RUNNING):
            self._call("stopProcess", member, False)

    def end(self, timeout_s: float = 40.0) -> None:
        """Ends supervisord itself and whatever it still runs; one that does not answer is killed."""
        process = self.process()
        with contextlib.suppress(NotRunningError):
            self._call("shutdown")
        if process is not None:
            if processes.is_frozen(process):
                processes.send([process], signal.SIGKILL)
            processes.kill_all(processes.wait_gone([process], timeout_s))
        self._layout.supervisor_socket.unlink(missing_ok=True)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = _Transport(str(self._layout.supervisor_socket))
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise NotRunningError("the stack is being taken down") from fault
            raise _FaultError(fault) from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise NotRunningError(
                f"no stack is running with its state in {self._layout.state}; start one with `bruce-control up`"
            ) from error
        finally:
            proxy("close")()


class _FaultError(StackError):
    """A refusal of supervisord, in its own words."""

    def __init__(self, fault: xmlrpc.client.Fault) -> None:
        super().__init__(f"the supervisor refused: {fault.faultString}")
        self.code = fault.faultCode


@contextlib.contextmanager
def _ignoring(code: int) -> Iterator[None]:
    try:
        yield
    except _FaultError as error:
        if error.code != code:
            raise


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a deadline: a frozen supervisord must not hold its caller for ever."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        del host
        return _UnixConnection(self._path)


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, or what there is of it."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16_384))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


@dataclass(slots=True)
class Ends:
    """How a member ended by itself since supervisord started."""

    count: int = 0
    last: str = ""
    """In supervisord's words, such as `exit status 2`."""

    @property
    def exit_code(self) -> int | None:
        """The number in `last`; None where it ended by a signal, or never."""
        number = self.last.removeprefix("exit status ")
        return int(number) if number.isdecimal() else None


def unexpected_ends(log: Path) -> dict[str, Ends]:
    """The ends of each member that nobody asked for, as supervisord logged them."""
    ends = {member: Ends() for member in MEMBERS}
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ends
    for line in text.rpartition("supervisord started with pid")[2].splitlines():
        _, found, rest = line.partition(" exited: ")
        name, _, how = rest.partition(" (")
        if found and how.endswith("; not expected)") and name in ends:
            ends[name].count += 1
            ends[name].last = how.removesuffix("; not expected)")
    return ends
