"""`docker compose`, for what should run: up, down. Its own words are shown whole where it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import compose
from control_room.stack.runtime import Narrate, StackError

_FOLDER: Final = Path(compose.__file__).resolve().parent
FILE: Final = _FOLDER / "compose.yaml"
LINKS_FILE: Final = _FOLDER / "compose.links.yaml"
_KEPT_LINES: Final = 40
_TOLD: Final = (" Built", " Created", " Started", " Healthy", " Removed", " Pulled", "naming to ")
"""Of a build's hundreds of lines, those that are progress to a person."""


def run(
    project: str, words: Sequence[str], environ: Mapping[str, str], narrate: Narrate, *, links: bool = False
) -> None:
    """Runs `docker compose WORDS` for the project, telling what it does; `links`: with the proxy of the links.

    Raises:
        StackError: it failed; the message has its last lines.
    """
    files = ["--file", str(FILE), *(["--file", str(LINKS_FILE), "--profile", "links"] if links else [])]
    command = ["docker", "compose", "--project-name", project, *files, "--progress", "plain", *words]
    said: list[str] = []
    # Both streams in one: its progress and its errors come in their order.
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as started:
        assert started.stdout is not None  # noqa: S101  it was asked for
        for line in started.stdout:
            text = line.strip()
            if not text:
                continue
            said.append(text)
            del said[:-_KEPT_LINES]
            if any(text.endswith(word.rstrip()) or word in text for word in _TOLD):
                narrate(text)
    if started.returncode != 0:
        lines = "\n".join(f"  {line}" for line in said)
        raise StackError(f"`docker compose {' '.join(words)}` failed with exit status {started.returncode}:\n{lines}")
