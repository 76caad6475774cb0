"""The control room's own settings: what they may be, where each value comes from, and the file that keeps them.

The services' settings are others, see `services.common.settings`. Textual is loaded for the names of its themes alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from control_room.ui.commands import VIEWS
from control_room.verify.durable import write_whole

APP: Final = "bruce-control"
"""The name of its folders among a user's configuration and state."""
PREFIX: Final = "BRUCE_CONTROL_"
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


class SettingError(ValueError):
    """A name or a value that is not allowed. The message names those that are."""


def _themes() -> tuple[str, ...]:
    from control_room.ui.themes import THEMES  # Textual, see above

    return THEMES


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that a person can choose."""

    name: str
    default: str | bool | int
    help: str
    choices: Callable[[], tuple[str, ...]] = tuple
    """The allowed values of a setting that is text."""

    @property
    def variable(self) -> str:
        """The environment variable that wins over the file."""
        return PREFIX + self.name.upper()

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if isinstance(self.default, bool):
            return "true, false"
        if isinstance(self.default, int):
            return "a whole number from 0 to 65535"
        return ", ".join(self.choices())

    def parse(self, raw: object) -> str | bool | int:
        """The value that `raw`, from a file or a command line, means. Raises SettingError."""
        if isinstance(self.default, bool):
            word = str(raw).lower()
            if word in _TRUE | _FALSE:
                return word in _TRUE
        elif isinstance(self.default, int):
            digits = str(raw)
            if digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits) <= 65535:
                return int(digits)
        elif raw in self.choices():
            return str(raw)
        raise SettingError(f"{self.name} cannot be {str(raw)[:100]!r}; allowed: {self.allowed}")


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("theme", "textual-dark", "The colours: Textual's themes, and bruce-contrast for bad light.", _themes),
    Setting("start_view", "stack", "The view shown first, where none is remembered.", lambda: tuple(VIEWS)),
    Setting("remember", True, "Whether view, order and filters, of the logs too, are those of the last time here."),
    Setting("mouse", True, "Whether clicks are the app's; false leaves them to the terminal, to select text."),
    Setting("read_only", False, "Whether the app only watches, as with --read-only."),
    Setting("serve_port", 8400, "The port of `bruce-control serve`; 0: a free one."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting's value. A value that was not allowed is replaced by the default, and told."""

    theme: str
    start_view: str
    remember: bool
    mouse: bool
    read_only: bool
    serve_port: int
    sources: Mapping[str, str]
    """Where each comes from: `default`, `file` or `environment`."""
    problems: tuple[str, ...]
    """A sentence for each value and each name that is not allowed."""


def shown(value: str | bool | int) -> str:
    """A value as it is written in the file and on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def config_dir() -> Path:
    """The folder of both files; XDG_CONFIG_HOME moves it."""
    return user_config_path(APP, appauthor=False)


def settings_path() -> Path:
    """The settings file."""
    return config_dir() / "settings.toml"


def setting_named(name: str) -> Setting:
    """A setting. Raises SettingError where there is none of that name."""
    for each in SETTINGS:
        if each.name == name.replace("-", "_"):
            return each
    raise SettingError(f"there is no setting {name[:100]!r}; the settings are {', '.join(s.name for s in SETTINGS)}")


def read_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the file, the environment and the defaults.

    Failure policy: open. What cannot be read or is not allowed is a sentence in `problems`; the app starts without it.
    """
    problems: list[str] = []
    try:
        found = read_toml(path)
    except SettingError as error:
        found = {}
        problems.append(str(error))
    for name in found:
        if name not in {each.name for each in SETTINGS}:
            problems.append(f"{path.name}: {_refused(name)}")
    values: dict[str, Any] = {each.name: each.default for each in SETTINGS}
    sources = dict.fromkeys(values, "default")
    given = [(each, "file", path.name, found[each.name]) for each in SETTINGS if each.name in found]
    given += [(e, "environment", e.variable, environ[e.variable]) for e in SETTINGS if environ.get(e.variable)]
    for setting, source, place, raw in given:
        try:
            values[setting.name] = setting.parse(raw)
            sources[setting.name] = source
        except SettingError as error:
            problems.append(f"{place}: {error}; {shown(values[setting.name])} is used")
    return Settings(**values, sources=sources, problems=tuple(problems))


def _refused(name: str) -> str:
    try:
        setting_named(name)
    except SettingError as error:
        return str(error)
    return f"{name} is written {name.replace('-', '_')}"


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in a TOML file; nothing where there is none. Raises SettingError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise SettingError(f"{path} is no TOML file: {error}; correct it, or delete it for the defaults") from error


def write_setting(path: Path, name: str, raw: str | None) -> str | bool | int:
    """Writes one setting into the file, or takes it out (None); comments and the rest stay. Returns its value then.

    Raises SettingError: no such setting, a value that is not allowed, or a file that cannot be read or written.
    """
    import tomlkit  # keeps what a person wrote beside the values

    setting = setting_named(name)
    value = setting.default if raw is None else setting.parse(raw)
    read_toml(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        if raw is None:
            document.pop(setting.name, None)
        else:
            document[setting.name] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (tomlkit.dumps(document).rstrip() + "\n").encode())
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror}") from error
    return value
