"""Values of the configuration file that stand elsewhere: in an environment variable, or in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

FILE: Final = "_file"
"""What ends the name of a setting whose value is in the file it names."""
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ValueSource:
    """Looks values up for one configuration file; what is wrong with them is collected, each under its setting."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """`folder`: where relative names of files begin."""
        self._folder = folder
        self._environ = environ
        self.problems: list[str] = []

    def filled(self, section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """`section` with each `${VARIABLE}` and each `NAME_file` replaced by what it stands for.

        Args:
            section: settings by name; lists and sections within it stay as they are.
            prefix: what its settings' names begin with in a message.
        """
        found: dict[str, Any] = {}
        for name, value in section.items():
            shown = f"{prefix}{name}"
            if not isinstance(value, str):
                found.setdefault(str(name), value)
                continue
            text = self._with_variables(shown, value)
            meant = str(name).removesuffix(FILE)
            if meant != name:
                if meant in section:
                    self.problems.append(f"{shown}: {prefix}{meant} is set too; set one of the two")
                text = self._content(shown, text)
            found[meant] = text
        return found

    def _with_variables(self, shown: str, value: str) -> str:
        for name in _VARIABLE.findall(value):
            if name not in self._environ:
                self.problems.append(f"{shown}: the environment variable {name} is not set")
        return _VARIABLE.sub(lambda found: self._environ.get(found[1], ""), value)

    def _content(self, shown: str, path: str) -> str:
        try:
            return (self._folder / Path(path).expanduser()).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            self.problems.append(f"{shown}: {path} cannot be read: {reason}")
            return ""
