"""Writes constraints.txt: `name==version` of everything the project and its development extras pull in.

And compose/constraints.txt: those of them that the services' image takes, so that nothing else makes it anew.

The files name no server and no hash, so that any mirror serves them. pip resolves; nothing is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def resolved(requirements: list[str], *options: str) -> dict[str, str]:
    """Canonical name and version of each distribution that pip would install for `requirements`."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *options, *requirements], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("constraints.txt stays as it was: pip could not resolve the requirements (see above)")
    found = (item["metadata"] for item in json.loads(done.stdout)["install"])
    return {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in found}


def of_the_image(pins: dict[str, str]) -> dict[str, str]:
    """Those of `pins` that compose/services.txt brings into the services' image."""
    lines = (ROOT / "compose" / "services.txt").read_text(encoding="utf-8").splitlines()
    wanted = resolved([line for line in lines if line and not line.startswith("#")], "--constraint", "constraints.txt")
    return {name: pins[name] for name in wanted}


def text(pins: dict[str, str], what_for: str) -> str:
    """A constraints file."""
    return "\n".join([f"# Made by `make lock`: {what_for}.", *(f"{n}=={v}" for n, v in sorted(pins.items()))]) + "\n"


def main() -> None:
    """Resolves and writes."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    pins = resolved([".[dev]", *build])
    pins.pop("bruce-control", None)
    (ROOT / "constraints.txt").write_text(text(pins, "the versions that `make run` and `make test` install"))
    image = of_the_image(pins)
    (ROOT / "compose" / "constraints.txt").write_text(text(image, "the versions in the services' image"))
    sys.stderr.write(f"constraints.txt: {len(pins)} versions\n")


if __name__ == "__main__":
    main()
