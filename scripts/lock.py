"""Writes constraints.txt: `name==version` of everything the project and its development extras pull in.

The file names no server and no hash, so that any mirror serves it. pip resolves; nothing is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def resolved(requirements: list[str]) -> dict[str, str]:
    """Canonical name and version of each distribution that pip would install for `requirements`."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *requirements], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("constraints.txt stays as it was: pip could not resolve the requirements (see above)")
    found = (item["metadata"] for item in json.loads(done.stdout)["install"])
    return {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in found}


def main() -> None:
    """Resolves and writes."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    pins = resolved([".[dev]", *build])
    pins.pop("bruce-control", None)
    lines = ["# Made by `make lock`: the versions that `make run` and `make test` install."]
    lines += [f"{name}=={version}" for name, version in sorted(pins.items())]
    (ROOT / "constraints.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stderr.write(f"constraints.txt: {len(pins)} versions\n")


if __name__ == "__main__":
    main()
