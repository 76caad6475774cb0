"""The figures kept in the repository, and whether a measurement is worse than they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("kept.json")
TOLERANCE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row against its kept figure, in CPU-seconds per 1,000 events, as this machine would have needed them."""

    row: str
    kept: float
    measured: float

    @property
    def change(self) -> float:
        """0.2: a fifth more than the kept figure."""
        return self.measured / self.kept - 1 if self.kept else 0.0

    @property
    def worse(self) -> bool:
        """Whether that is more than the tolerance."""
        return self.change > TOLERANCE

    def line(self) -> str:
        """In words."""
        verdict = f"WORSE by {self.change:.0%}" if self.worse else f"{self.change:+.0%}"
        return f"{self.row}: {self.measured:.2f} CPU-seconds per 1,000 events, kept {self.kept:.2f}: {verdict}"


def compare(document: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Comparison]:
    """Each row that both results have.

    CPU-seconds are steadier than rates on a machine that others use, and are scaled by how fast each machine was.
    """
    scale = document["calibrate_us"] / kept["calibrate_us"]
    return [
        Comparison(name, kept["rows"][name]["cpu_s_per_1000"] * scale, row["cpu_s_per_1000"])
        for name, row in document["rows"].items()
        if name in kept["rows"] and "cpu_s_per_1000" in row
    ]


def read_kept(path: Path = FILE) -> dict[str, Any] | None:
    """The kept result; None where there is none yet."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep(document: Mapping[str, Any], path: Path = FILE) -> None:
    """Keeps `document`: the rows that it has replace those of their names, with the speed of its machine."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
