"""The manifest: which evidence files a run has, their SHA-256, size and line count. Written last, checked first."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from control_room.verify.durable import write_whole
from control_room.verify.files import ADDED_LATER, EVIDENCE, FORMAT, MANIFEST, RUN

_CHUNK_BYTES = 1 << 20


class EvidenceError(ValueError):
    """An evidence file that is missing, changed, cut, or not what it should be. The message names the file."""


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file was when the evidence was complete."""

    sha256: str
    size_bytes: int
    lines: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {"sha256": self.sha256, "bytes": self.size_bytes, "lines": self.lines}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The seals of a run's files, and the names of those that did not exist."""

    run: str
    files: dict[str, FileSeal]
    absent: tuple[str, ...]
    sha256: str
    """Of the manifest itself."""


def seal(path: Path) -> FileSeal:
    """The seal of a file as it is now. Raises OSError where it cannot be read."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
    return FileSeal(digest.hexdigest(), size, lines)


def write_manifest(run_dir: Path) -> Path:
    """Seals every evidence file of the run and writes `manifest.json` (atomic, fsynced); its path.

    Raises:
        EvidenceError: the folder has no readable run.json, so it is not a run.
        OSError: a file cannot be read or the manifest not be written.
    """
    try:
        run = orjson.loads((run_dir / RUN).read_bytes())["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{run_dir} is not the folder of a run: {RUN} is missing or unreadable") from error
    files = {name: seal(run_dir / name).to_json() for name in EVIDENCE if (run_dir / name).exists()}
    absent = [name for name in EVIDENCE if name not in files]
    document = {"format": FORMAT, "run": run, "files": files, "absent": absent}
    return write_whole(run_dir / MANIFEST, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(run_dir: Path) -> Manifest:
    """The run's manifest. Raises EvidenceError where it is missing or not one."""
    try:
        raw = (run_dir / MANIFEST).read_bytes()
    except OSError as error:
        raise EvidenceError(f"{MANIFEST} is missing: the evidence of this run was never completed") from error
    try:
        document = orjson.loads(raw)
        if document["format"] != FORMAT:
            raise EvidenceError(f"{MANIFEST} has format {document['format']!r}, this version reads {FORMAT}")
        files = {
            str(name): FileSeal(str(entry["sha256"]), int(entry["bytes"]), int(entry["lines"]))
            for name, entry in document["files"].items()
        }
        absent = tuple(str(name) for name in document["absent"])
        run = str(document["run"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"{MANIFEST} is damaged: {type(error).__name__} {error}") from error
    unlisted = [name for name in EVIDENCE if name not in {*files, *absent, *ADDED_LATER}]
    if unlisted:
        raise EvidenceError(f"{MANIFEST} does not say whether {', '.join(unlisted)} existed")
    return Manifest(run, files, absent, hashlib.sha256(raw).hexdigest())


def broken_seals(run_dir: Path, manifest: Manifest) -> dict[str, str]:
    """Each evidence file that is not what the manifest says, with the reason as a sentence."""
    broken: dict[str, str] = {}
    for name in EVIDENCE:
        expected = manifest.files.get(name)
        try:
            found = seal(run_dir / name)
        except FileNotFoundError:
            if expected is not None:
                broken[name] = f"{name} is missing; it was there when the evidence was sealed"
            continue
        except OSError as error:
            broken[name] = f"{name} cannot be read: {error.strerror}"
            continue
        if expected is None:
            broken[name] = f"{name} appeared after the evidence was sealed"
        elif found.size_bytes < expected.size_bytes:
            broken[name] = f"{name} was truncated: {found.size_bytes} of {expected.size_bytes} bytes"
        elif found.sha256 != expected.sha256:
            broken[name] = f"{name} was changed: its SHA-256 is not the sealed one"
        elif found != expected:
            broken[name] = f"{name} does not have the sealed size and line count"
    return broken
