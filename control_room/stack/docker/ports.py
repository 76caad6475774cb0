"""The ports of this machine at which containers are published: the usual ones, or the same some hundreds higher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from control_room.stack.local.ports import holder, is_free
from control_room.stack.runtime import StackError

USUAL: Final[Mapping[str, tuple[int, int]]] = {
    "NGINX_PORT": (8000, 1),
    "API_PORTS": (8001, 19),
    "MERCHANT_PORT": (5001, 1),
    "POSTGRES_PORT": (5432, 1),
    "KAFKA_1_PORT": (19092, 1),
    "KAFKA_2_PORT": (19093, 1),
    "KAFKA_3_PORT": (19094, 1),
    "PUBLISHER_METRICS_PORTS": (9111, 9),
    "DISPATCHER_METRICS_PORTS": (9121, 9),
    "LINKS_PORTS": (18200, 17),
}
"""Each variable of the compose file: its first port and how many follow, for as many replicas."""
_STEP: Final = 100
_LAST: Final = 32_000
"""Below the usual ephemeral ports, as on `local`."""


def chosen(environ: Mapping[str, str], free: Callable[[int], bool] = is_free, *, links: bool = False) -> dict[str, str]:
    """What Compose is to fill its ports in with: what the user set, and for the rest ports that are free.

    The ports that nobody set move together: all of them usual, or all some hundreds higher.

    Args:
        environ: where the user may have set them: a port, or a range as `8001-8019`.
        free: whether a port can be listened on.
        links: whether the stack gets the proxy of the links, which has ports of its own.

    Raises:
        StackError: a port that the user set is no port, or taken; the message names it, its variable and its holder.
    """
    found = {}
    wanted = {variable: span for variable, span in USUAL.items() if links or variable != "LINKS_PORTS"}
    for variable in wanted:
        if text := environ.get(variable, "").strip():
            _refuse_taken(variable, text, free)
            found[variable] = text
    rest = {variable: span for variable, span in wanted.items() if variable not in found}
    for offset in range(0, _LAST - max(first for first, _ in USUAL.values()), _STEP):
        if all(free(first + offset + number) for first, count in rest.values() for number in range(count)):
            return found | {variable: _span(first + offset, count) for variable, (first, count) in rest.items()}
    raise StackError(f"no free ports were found for a stack up to {_LAST}; stop another stack first")


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _refuse_taken(variable: str, text: str, free: Callable[[int], bool]) -> None:
    ends = text.split("-")
    many = USUAL[variable][1] > 1
    if len(ends) > 1 + many or not all(end.isdecimal() and 1 <= int(end) <= 65535 for end in ends):
        wanted = "a port or a range of them, as 8001-8019," if many else "a port"
        raise StackError(f"{variable} must be {wanted} from 1 to 65535 (given: {text!r})")
    for port in range(int(ends[0]), int(ends[-1]) + 1):
        if not free(port):
            raise StackError(f"port {port} ({variable}) is taken by {holder(port)}; free it or choose another")
