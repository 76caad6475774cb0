"""Kafka's jars: fetched once by Maven coordinate into the user's cache, each checked against its pinned SHA-256.

`compose/kafka/jars.txt` pins them (made by `pin`), so every machine runs the same bytes whatever a repository serves.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import psutil

from control_room.stack.local.layout import read_json, write_json
from control_room.stack.runtime import Narrate, StackError

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.3.1"
LOG4J_BINDING: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
_FETCHERS: Final = 4
_TIMEOUT_S: Final = 20


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar."""

    sha256: str
    coordinate: str
    """`group:artifact:version`."""

    @property
    def filename(self) -> str:
        """As Maven names it."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def pinned() -> list[Jar]:
    """The jars that make up the broker, in the order of the class path."""
    text = (resources.files("compose") / "kafka" / "jars.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Jar(sha256, coordinate) for sha256, coordinate in lines]


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Bruce's folder in the user's cache: `BRUCE_CACHE`, else `bruce` under XDG_CACHE_HOME or `~/.cache`."""
    if environ.get("BRUCE_CACHE"):
        return Path(environ["BRUCE_CACHE"]).absolute()
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(base).absolute() / "bruce"


def provide(cache: Path, environ: Mapping[str, str], narrate: Narrate) -> list[Path]:
    """The jars on disk, checked; fetches those that are missing. A warm cache needs no network and takes milliseconds.

    Failure policy: closed. A jar whose bytes are not the pinned ones is never put on the class path.

    Raises:
        StackError: a jar is missing and could not be fetched; the message says what to do.
    """
    folder = cache / f"kafka-{KAFKA.rpartition(':')[2]}"
    jars = pinned()
    manifest = read_json(folder / "manifest.json") or {}
    missing = [jar for jar in jars if not _sound(folder / jar.filename, jar, manifest)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        _fetch_all(missing, folder, environ, narrate)
    fresh = {jar.filename: _stamp(folder / jar.filename) for jar in jars}
    if fresh != manifest:
        write_json(folder / "manifest.json", fresh)
    return [folder / jar.filename for jar in jars]


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _sound(path: Path, jar: Jar, manifest: Mapping[str, Any]) -> bool:
    """Whether the jar is there with the pinned bytes: size and time as last checked, else the full sum."""
    try:
        return _stamp(path) == manifest.get(jar.filename) or _sha256(path) == jar.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_all(missing: list[Jar], folder: Path, environ: Mapping[str, str], narrate: Narrate) -> None:
    narrate(f"fetching {len(missing)} jars of Apache Kafka into {folder} (once)")
    staging = folder / f".staging-{os.getpid()}"
    try:
        with ThreadPoolExecutor(_FETCHERS) as pool:
            futures = [pool.submit(_fetch, jar, folder, staging, environ) for jar in missing]
            pending, step = set(futures), 0
            while pending:
                done, pending = wait(pending, timeout=5, return_when=FIRST_EXCEPTION)
                if any(future.exception() for future in done):
                    for future in pending:
                        future.cancel()
                    break
                step = _tell_progress(len(futures) - len(pending), len(futures), step, narrate)
        for future in futures:
            if not future.cancelled():
                future.result()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what a fetch that was killed has left: its names end in the pid that it had."""
    for left in folder.glob(".*"):
        pid = re.search(r"[-.](\d+)$", left.name)
        if pid and not psutil.pid_exists(int(pid[1])):
            shutil.rmtree(left, ignore_errors=True)
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _tell_progress(done: int, total: int, last: int, narrate: Narrate) -> int:
    if done > last:
        narrate(f"fetched {done} of {total} jars")
    return done


def _fetch(jar: Jar, folder: Path, staging: Path, environ: Mapping[str, str]) -> None:
    """Puts one jar into `folder`: from a Maven repository on this machine that has it, else from the network."""
    home = Path(environ.get("HOME") or Path.home())
    local = Path(environ.get("M2_REPO") or home / ".m2" / "repository")
    group, artifact, version = jar.coordinate.split(":")
    at_hand = local / Path(*group.split(".")) / artifact / version / jar.filename
    incoming = folder / f".{jar.filename}.{os.getpid()}"
    if at_hand.is_file() and _sha256(at_hand) == jar.sha256:
        shutil.copyfile(at_hand, incoming)
    else:
        shutil.move(_download(jar, staging, environ), incoming)
    found = _sha256(incoming)
    if found != jar.sha256:
        incoming.unlink()
        raise StackError(
            f"{jar.coordinate} arrived with SHA-256 {found[:16]}…, pinned is {jar.sha256[:16]}…; "
            "it was thrown away: try again, and if it stays so do not trust the repository it came from"
        )
    incoming.replace(folder / jar.filename)


def _download(jar: Jar, staging: Path, environ: Mapping[str, str]) -> Path:
    import requests
    from jgo.maven import MavenContext

    url = environ.get("BRUCE_MAVEN_URL")
    context = MavenContext(
        repo_cache=staging, remote_repos={"central": url.rstrip("/")} if url else None, timeout=_TIMEOUT_S
    )
    group, artifact, version = jar.coordinate.split(":")
    try:
        return Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (requests.RequestException, RuntimeError, OSError) as error:
        raise StackError(
            f"cannot fetch {jar.coordinate}, a part of Apache Kafka, and it is not in the cache "
            f"({staging.parent}): {_short(error)}. Connect to the network once and run `bruce-control up` again, "
            "or copy that folder from a machine that has it, or set BRUCE_MAVEN_URL to a Maven repository in reach"
        ) from error


def _short(error: Exception) -> str:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = str(reason).rpartition(": ")[2] if reason else " ".join(str(error).split())
    return text[:160] or type(error).__name__


def pin(write: Callable[[str], Any]) -> None:
    """Resolves the jars anew and writes the pinned list: for maintainers, after a change of version.

    Two calls: in one, the logging binding's BOM would pull Kafka's own client jar down to an older version.
    """
    import jgo

    wanted = {}
    for artifact in [*jgo.resolve(KAFKA), *jgo.resolve(LOG4J_BINDING)[:1]]:
        if artifact.packaging == "jar" and not artifact.classifier:
            wanted[f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"] = artifact
    write("# SHA-256 and coordinate of every jar of the broker. Made by: python -m control_room.stack.local.jars\n")
    for coordinate in sorted(wanted):
        write(f"{_sha256(wanted[coordinate].resolve())} {coordinate}\n")


if __name__ == "__main__":
    import sys

    pin(sys.stdout.write)
