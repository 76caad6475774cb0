"""Writes .env.example from the settings' own classes and from what the compose file lets a user set.

python -m scripts.env_example
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

import yaml

from scripts.settings_page import SECTIONS, documented

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLE: Final = ROOT / ".env.example"
COMPOSE: Final = ROOT / "compose" / "compose.yaml"
_INTRO: Final = """\
# Settings of `docker compose up`: copy this file to .env. What is commented out shows its default.

# Signs payments and webhooks. This one is for trying Bruce out on your own machine, and known to everybody: make your
# own with `openssl rand -hex 32`. Several, comma-separated, rotate: the first signs, all verify. Or leave it out and
# name a file that holds it, readable by user 10001.
HMAC_SECRET=for-trying-out-on-this-machine-only
#HMAC_SECRET_FILE=

# The database's user and password. They are set when the data is made, and hold for as long as the data does.
POSTGRES_PASSWORD=for-trying-out
#POSTGRES_PASSWORD_FILE=
#POSTGRES_USER=bruce
#POSTGRES_DB=bruce

# Ports on this machine's loopback.
#NGINX_PORT=8000
#MERCHANT_PORT=5001
#POSTGRES_PORT=5432
#KAFKA_1_PORT=19092
#KAFKA_2_PORT=19093
#KAFKA_3_PORT=19094
# One of these for each replica.
#API_PORTS=8001-8019
#PUBLISHER_METRICS_PORTS=9111-9119
#DISPATCHER_METRICS_PORTS=9121-9129
# Of the proxy of the links, where `bruce-control up --links` has started it: its own, and one for each door.
#LINKS_PORTS=18200-18216

# The id of the Kafka cluster, set when its data is made; `kafka-storage.sh random-uuid` makes one.
#KAFKA_CLUSTER_ID=

# Images, where yours come from another registry; a package index for the build.
#PYTHON_IMAGE=python:3.13-slim
#POSTGRES_IMAGE=postgres:17
#NGINX_IMAGE=nginx:1.29-alpine
#KAFKA_IMAGE=apache/kafka:4.3.1
#PIP_INDEX_URL=
"""


def passed_on() -> list[str]:
    """The services' settings that the compose file passes on, in its order."""
    return list(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["x-settings"])


def example() -> str:
    """The whole file."""
    wanted, blocks = set(passed_on()), [_INTRO]
    for title, kind in SECTIONS:
        lines = []
        for one in documented(kind):
            if one.variable not in wanted:
                continue
            text = f"{one.text} ({one.allowed})" if one.allowed else one.text
            default = "" if one.default == "not set" else one.default.strip("`")
            lines += [*textwrap.wrap(text.replace("`", ""), 118, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"#{one.variable}={default}")
        if lines:
            blocks.append("\n".join([f"# --- {title}", *lines]) + "\n")
    return "\n".join(blocks)


def main() -> None:
    """Writes the file."""
    EXAMPLE.write_text(example(), encoding="utf-8")
    sys.stderr.write(f"{EXAMPLE}\n")


if __name__ == "__main__":
    main()
