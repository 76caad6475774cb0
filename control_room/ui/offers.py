"""From a fault of the catalogue to what is applied: whom it hits, and what it takes, asked one after the other.

Then the app previews it and asks, as for every fault (`Deeds.fault`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from control_room.chaos.clock_step import ClockStep
from control_room.chaos.crash_point import CrashPoint, members_of
from control_room.chaos.link_fault import LinkFault
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.stack.links.names import LINKS
from control_room.tracking.snapshot import Snapshot
from control_room.ui.chaos_words import LINK_HINT, MERCHANT_HINT, STEP_HINT, parse_changes, parse_link, parse_step
from control_room.ui.dialogs import Choice, Choose, ChooseSome, Prompt
from services.common.crash import POINTS

if TYPE_CHECKING:
    from control_room.ui.app import ControlRoom

_TYPED: Final[Mapping[str, tuple[str, str, str, Callable[[str], Mapping[str, Any]]]]] = {
    ClockStep.name: ("How far the clock goes", "+90s", STEP_HINT, parse_step),
    LinkFault.name: ("What the link does", "mode=silence", LINK_HINT, parse_link),
}
"""Of faults that take something: title, first value, hint, reader."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A fault of the catalogue."""

    name: str
    summary: str
    targets: tuple[str, ...]
    impossible: str = ""
    """Why this stack cannot do it."""


def take(room: ControlRoom, offer: Offer) -> None:
    """Asks for what the fault needs, then has it previewed and asked for."""
    if offer.name == MerchantBehaviour.name:
        change_merchant(room)
    elif offer.name == CrashPoint.name:
        _take_crash_point(room, offer)
    elif len(offer.targets) == 1:
        room.fault(offer.name, offer.targets, {})
    else:
        _ask_whom(room, offer, offer.targets, lambda names: fault_members(room, offer.name, names))


def fault_members(room: ControlRoom, name: str, members: Sequence[str]) -> None:
    """The fault on `members` together; what it takes is asked for first."""
    if name not in _TYPED:
        room.fault(name, members, {})
        return
    title, first, hint, parse = _TYPED[name]
    room.push_screen(
        Prompt(f"{title}: {', '.join(members)}", first, hint, parse),
        lambda text: room.fault(name, members, parse(text)) if text else None,
    )


def change_merchant(room: ControlRoom) -> None:
    """Asks for the changes."""
    now = room.snapshot.merchant.value
    mode = f"mode={now.behaviour.get('mode')} failure_rate={now.behaviour.get('failure_rate')}" if now else ""

    def given(text: str | None) -> None:
        if text:
            room.fault(MerchantBehaviour.name, MerchantBehaviour.targets, parse_changes(text))

    room.push_screen(Prompt("The merchant from now on", mode, MERCHANT_HINT, parse_changes), given)


def _take_crash_point(room: ControlRoom, offer: Offer) -> None:
    choices = [Choice(name, name, f"dies {point.where}") for name, point in POINTS.items()]

    def chosen(point: str | None) -> None:
        if point is not None:
            _ask_whom(room, offer, members_of(point), lambda names: room.fault(offer.name, names, {"point": point}))

    room.push_screen(Choose(f"{offer.name}: where it ends", choices, title_width=30), chosen)


def _ask_whom(room: ControlRoom, offer: Offer, targets: Sequence[str], then: Callable[[Sequence[str]], object]) -> None:
    if len(targets) == 1:
        then(targets)
        return

    def chosen(names: Sequence[str] | None) -> None:
        if names is not None:
            then(names)

    found = _members(room.snapshot, targets)
    room.push_screen(ChooseSome(f"{offer.name}: {offer.summary}", found, title_width=30), chosen)


def _members(snapshot: Snapshot, targets: Sequence[str]) -> list[Choice]:
    states = {member.status.name: member.status for member in snapshot.members.value or ()}
    found = []
    for name in targets:
        words = f"{len(LINKS[name])} doors" if len(LINKS.get(name, ())) > 1 else ""
        if name in states:
            words = f"{states[name].state.value} {states[name].reason}"
        found.append(Choice(name, name, words))
    return found
