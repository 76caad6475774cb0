"""Three combined KRaft brokers: their configuration, their one-time format, and a class cache for quicker starts."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.stack.links.names import KAFKA_CLIENTS, door_name
from control_room.stack.local import errands, templates
from control_room.stack.local.java import Java
from control_room.stack.local.ports import HOST, broker_port, is_free
from control_room.stack.runtime import BROKERS, Narrate, StackError

_JVM_FLAGS: Final = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=64m",
    "-Xss512k",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
"""Three brokers beside everything else on a small machine: small heaps, one collector thread, the quick compiler,
and no file of performance counters, which has to be kept up to date and which nobody reads."""
_FORMAT_TIMEOUT_S: Final = 120
_PARTITION_FOLDER: Final = re.compile(r"(?!__cluster_metadata-).+-\d+")
"""A topic's partition in a broker's data; the quorum's own log is none."""
_TRAINING_TIMEOUT_S: Final = 90


@dataclass(frozen=True, slots=True)
class Broker:
    """What it takes to run the brokers of one stack."""

    java: Java
    jars: tuple[Path, ...]
    folder: Path
    """One folder per broker lies here."""
    cache: Path
    """The user's cache: the class cache is kept there, for all stacks."""
    run_dir: Path
    """Where formats and the training run are noted while they run."""
    environ: Mapping[str, str]
    """Their environment: the members' own, so that the class cache fits them."""

    @property
    def _class_cache(self) -> Path:
        seed = "\n".join([self.java.build, *map(str, self.jars), *_JVM_FLAGS])
        return self.cache / f"broker-{hashlib.sha256(seed.encode()).hexdigest()[:16]}.aot"

    def _command(self, *flags: str) -> list[str]:
        config = self.folder / "log4j2.properties"
        class_path = ":".join(map(str, self.jars))
        return [
            str(self.java.executable),
            *_JVM_FLAGS,
            f"-Dlog4j2.configurationFile={config}",
            *flags,
            "-cp",
            class_path,
        ]

    def command(self, member: str) -> list[str]:
        """What runs broker `member`."""
        return [*self._command(*self._cached()), "kafka.Kafka", str(self.folder / member / "server.properties")]

    def _cached(self) -> tuple[str, ...]:
        return (f"-XX:AOTCache={self._class_cache}",) if self._class_cache.is_file() else ()

    def configure(self, ports: Mapping[str, int]) -> None:
        """Writes each broker's configuration for these ports."""
        (self.folder / "log4j2.properties").write_text(templates.read("kafka/log4j2.properties"), encoding="utf-8")
        voters = ",".join(f"{n}@{HOST}:{ports[f'{member}/controller']}" for n, member in enumerate(BROKERS, 1))
        for number, member in enumerate(BROKERS, 1):
            own = (ports[f"{member}/internal"], ports[f"{member}/controller"], ports[member])
            _write_config(self.folder / member, number, voters, own, _link_listeners(member, ports))

    def format(self, cluster_id: str) -> None:
        """Formats the brokers that were not yet, side by side. Raises StackError with what Kafka said."""
        new = [member for member in BROKERS if not is_formatted(self.folder / member)]
        with ThreadPoolExecutor(len(BROKERS)) as pool:
            list(pool.map(lambda member: self._format_one(self.folder / member, cluster_id), new))

    def unformat(self) -> None:
        """Takes from the brokers, which must be down, what makes their data theirs; the next `format` deletes it.

        All of them first: half of a wipe must not leave some that still count as formatted.
        """
        for member in BROKERS:
            _meta(self.folder / member).unlink(missing_ok=True)

    def partitions_held(self) -> int:
        """How many copies of partitions, of any topic, lie in the brokers' folders."""
        folders = (entry for member in BROKERS for entry in (self.folder / member / "data").iterdir())
        return sum(_PARTITION_FOLDER.fullmatch(entry.name) is not None for entry in folders)

    def _format_one(self, home: Path, cluster_id: str) -> None:
        shutil.rmtree(home / "data", ignore_errors=True)  # half a format, from an `up` that was interrupted
        config = str(home / "server.properties")
        command = [*self._command(*self._cached()), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", config]
        errand, timeout_s = f"format-{home.name}", _FORMAT_TIMEOUT_S
        status, said = errands.run(self.run_dir, errand, command, env=self.environ, timeout_s=timeout_s)
        if status:
            raise StackError(f"cannot format {home.name}: {' / '.join(said[-3:])}")

    def train(self, narrate: Narrate) -> None:
        """Makes the class cache where there is none: runs one broker by itself and keeps what it has loaded.

        Measured: a broker is up after 0.9 CPU-seconds instead of 1.5, its format takes 0.55 instead of 0.87.
        Failure policy: open. Without the cache the brokers only start more slowly.
        """
        if not self.java.makes_caches or self._class_cache.is_file():
            return
        since = time.monotonic()
        narrate("keeping Kafka's classes ready for quicker starts (once)")
        for left in self.folder.glob("training-*"):  # by an `up` that was killed
            shutil.rmtree(left, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(prefix="training-", dir=self.folder) as folder:
                fresh = Path(folder) / "fresh.aot"
                self._train_in(Path(folder), fresh)
                self._keep(fresh)
            narrate(f"Kafka's classes are ready ({time.monotonic() - since:.0f} s)")
        except (OSError, StackError, subprocess.SubprocessError) as error:
            narrate(f"that did not work, so the brokers start without: {error}")

    def _keep(self, fresh: Path) -> None:
        """Puts a class cache in its place, and drops those whose Java is gone (66 MB for each deleted environment)."""
        self.cache.mkdir(parents=True, exist_ok=True)
        part = self.cache / f".{self._class_cache.name}.{os.getpid()}"
        shutil.move(fresh, part)
        self._class_cache.with_suffix(".java").write_text(str(self.java.executable), encoding="utf-8")
        part.replace(self._class_cache)
        for owner in self.cache.glob("broker-*.java"):
            if not Path(owner.read_text(encoding="utf-8")).exists():
                owner.with_suffix(".aot").unlink(missing_ok=True)
                owner.unlink(missing_ok=True)

    def _train_in(self, folder: Path, fresh: Path) -> None:
        ports = (_any_port(31_100), _any_port(31_300), _any_port(31_500))
        _write_config(folder, 1, f"1@{HOST}:{ports[1]}", ports)
        self._format_one(folder, new_cluster_id())
        config = str(folder / "server.properties")
        command = [*self._command(f"-XX:AOTCacheOutput={fresh}"), "kafka.Kafka", config]
        log = folder / "log"
        with errands.running(self.run_dir, "training", command, env=self.environ, output=log) as process:
            _wait_started(process, log)
            process.send_signal(signal.SIGTERM)  # the cache is written on the way out
            process.wait(_TRAINING_TIMEOUT_S)
        if not fresh.is_file():
            raise StackError("Java wrote no class cache")


def is_formatted(home: Path) -> bool:
    """Whether the broker whose folder this is has been formatted."""
    return _meta(home).is_file()


def _meta(home: Path) -> Path:
    return home / "data" / "meta.properties"


def _wait_started(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _TRAINING_TIMEOUT_S
    while b"Kafka Server started" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError("the broker for it did not start")
        time.sleep(0.1)


def _any_port(first: int) -> int:
    return next(port for port in range(first, first + 200) if is_free(port))


@dataclass(frozen=True, slots=True)
class _Listener:
    """A listener of a broker beside those that each one has."""

    name: str
    port: int
    advertised_port: int
    """What clients of this listener are told to dial."""


def _link_listeners(member: str, ports: Mapping[str, int]) -> list[_Listener]:
    """One for each client with a link, which is told to come through its own door; none in a stack without links."""
    return [
        _Listener(f"LINK_{client.replace('-', '_').upper()}", ports[broker_port(member, client)], ports[door])
        for client in KAFKA_CLIENTS
        if (door := door_name(client, member)) in ports
    ]


def _write_config(
    home: Path, number: int, voters: str, ports: tuple[int, int, int], more: Sequence[_Listener] = ()
) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    internal, controller, external = ports
    values = {
        "NODE_ID": number,
        "QUORUM_VOTERS": voters,
        "HOST": HOST,
        "ADVERTISED_HOST": HOST,
        "INTERNAL_PORT": internal,
        "CONTROLLER_PORT": controller,
        "EXTERNAL_PORT": external,
        "LINK_PROTOCOLS": "".join(f",{each.name}:PLAINTEXT" for each in more),
        "LINK_LISTENERS": "".join(f",{each.name}://{HOST}:{each.port}" for each in more),
        "LINK_ADVERTISED": "".join(f",{each.name}://{HOST}:{each.advertised_port}" for each in more),
        "DATA_DIR": _escaped(home / "data"),
    }
    text = templates.render("kafka/server.properties.template", values)
    (home / "server.properties").write_text(text, encoding="utf-8")


def _escaped(path: Path) -> str:
    """A path as a Java properties file takes it. Kafka splits `log.dirs` at commas, so none may stand in it."""
    if "," in str(path):
        raise StackError(f"Kafka cannot keep its data under a path with a comma: {path}; choose another --state")
    return str(path).replace("\\", "\\\\").encode("ascii", "backslashreplace").decode()


def new_cluster_id() -> str:
    """A random cluster id: 16 bytes in URL-safe base64, as Kafka's own tool makes it."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # it would be taken for an option
            return text
