"""A fault on a link: the connections between a client and a server refuse, fall silent, are slow or break.

Both members live and know nothing of it. The stack must have been started with `up --links`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import MERCHANT, Fault
from control_room.chaos.link_probe import ANSWERED, CLOSED, NOTHING, REFUSED, RESET, Seen, probe_all
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence, member_status, wait_for
from control_room.stack.links.client import Links
from control_room.stack.links.modes import Kind, Mode, ModeError, parse
from control_room.stack.links.names import API, NAMES, doors_of, server_of
from control_room.stack.runtime import Runtime, State

CUT_DEADLINE_S: Final = 10.0
RESET_DEADLINE_S: Final = 30.0
"""For some connection to have had its bytes."""
HEAL_DEADLINE_S: Final = 15.0
MUTE_S: Final = 0.5
"""A door that has not answered after so long, where the server takes milliseconds, is mute."""
_SERVER_S: Final = 2.0
"""What a server may take for an answer, beside the link."""
WITHOUT: Final = "the stack was started without --links"

_CUT: Final[Mapping[tuple[str, str], str]] = {
    (API, "postgres"): "new payments get 503 within the deadline",
    (API, "kafka"): "payments are accepted all the same; the outbox-publisher brings them into Kafka",
    ("outbox-publisher", "postgres"): "what the API does not hand to Kafka itself waits in the outbox",
    ("outbox-publisher", "kafka"): "what the API does not hand to Kafka itself waits in the outbox",
    ("dispatcher", "postgres"): "deliveries go on up to a bounded backlog of unrecorded outcomes",
    ("dispatcher", "kafka"): "what it has taken is delivered and not committed; its group gives its partitions away",
    ("dispatcher", MERCHANT): "every delivery fails: retries, then a re-queue and a pause with probes",
    ("nginx", API): "nobody gets in; what was accepted goes on being delivered",
}
"""What follows while nothing goes through."""


class LinkFault(Fault):
    """Puts the doors of one link into a mode; the heal lets them pass.

    `facts`: `mode`, as `modes.parse` reads it; `open`, how many connections there were.
    """

    name = "link"
    summary = "cuts, slows or resets the connections of a link (the stack needs `up --links`)"
    targets = NAMES
    takes = True

    @classmethod
    def faulting(cls, target: str, params: Mapping[str, Any]) -> LinkFault:
        """The fault that `params` describe: `mode` and its numbers. Raises FaultError for others."""
        try:
            mode = parse(params)
        except ModeError as error:
            raise FaultError(str(error)) from error
        if mode.kind is Kind.PASS:
            raise FaultError("a link that passes is no fault; heal it instead")
        return cls(target, {"mode": mode.to_json()})

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Without the proxy in the path there is nothing to fault."""
        if runtime.links() is not None:
            return None
        return f"{WITHOUT}; take it down and start it with `bruce-control up --links`"

    def prepare(self, runtime: Runtime) -> None:
        """Looks at the doors. Raises FaultError where there are none, or one is faulted already."""
        links = runtime.links()
        if links is None:
            raise FaultError(WITHOUT)
        if self.target == f"dispatcher:{MERCHANT}":
            self._check_webhook_url(runtime)
        found = self._doors(links)
        faulted = [f"{door} ({state['mode']})" for door, state in found.items() if state["mode"] != Kind.PASS]
        if faulted:
            raise FaultError(f"{', '.join(faulted)} is faulted already; heal it first")
        self.facts["open"] = sum(state["open"] for state in found.values())

    def preview(self, live: LiveState) -> str:
        """The mode, how many connections it hits, and what follows."""
        del live
        count = self.facts["open"]
        connections = f"{count} connection{'' if count == 1 else 's'} open"
        return f"link {self.target}, {self._mode.words()}: {connections}; {self._consequence()}"

    def apply(self, runtime: Runtime) -> None:
        """Tells the proxy."""
        self._links(runtime).set(doors_of(self.target), self._mode)

    def evidence(self, runtime: Runtime) -> Evidence:
        """What a connection of one's own sees at every door, and what the proxy has counted since."""
        links = self._links(runtime)
        looks: Mapping[Kind, Callable[[Links], Evidence]] = {
            Kind.REFUSE: self._refused,
            Kind.SILENCE: self._silent,
            Kind.SLOW: self._slow,
        }
        kind = self._mode.kind
        if kind is Kind.RESET_AFTER:
            return self._reset(links)
        return wait_for(lambda: looks[kind](links), CUT_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Lets the doors pass, after noting what went through meanwhile; harmless where they do already."""
        links = runtime.links()
        if links is None:
            return  # another stack than the one that was faulted: its doors are gone, and the fault with them
        if "during" not in self.facts:
            self.facts["during"] = _since(self._doors(links))
        links.set(doors_of(self.target), Mode())

    def healed(self, runtime: Runtime) -> Evidence:
        """Every door passes, and the servers behind them that run answer through them."""
        links = runtime.links()
        if links is None:
            return Evidence(True, {"links": "none any more"})

        def look() -> Evidence:
            modes = {state["mode"] for state in self._doors(links).values()}
            seen = probe_all(self._ports(links), _SERVER_S)
            mute = [door for door, each in seen.items() if each.what != ANSWERED and _runs(runtime, server_of(door))]
            facts = {"modes": sorted(modes), "answered": len(seen) - len(mute), "during": self.facts.get("during")}
            return Evidence(modes == {Kind.PASS} and not mute, facts)

        return wait_for(look, HEAL_DEADLINE_S)

    @property
    def _mode(self) -> Mode:
        return parse(self.facts["mode"])

    def _links(self, runtime: Runtime) -> Links:
        links = runtime.links()
        if links is None:
            raise FaultError(WITHOUT)
        return links

    def _doors(self, links: Links) -> dict[str, dict[str, Any]]:
        known = links.state()["doors"]
        return {door: known[door] for door in doors_of(self.target)}

    def _ports(self, links: Links) -> dict[str, int]:
        return {door: links.ports[door] for door in doors_of(self.target)}

    def _check_webhook_url(self, runtime: Runtime) -> None:
        ends = runtime.endpoints()
        if not ends.webhook_url.startswith(f"{ends.merchant_url}/"):
            raise FaultError(f"the dispatcher delivers to {ends.webhook_url}, which no link of this stack leads to")

    def _consequence(self) -> str:
        mode = self._mode
        if mode.kind is Kind.SLOW:
            return "everything on it comes later, in order"
        if mode.kind is Kind.RESET_AFTER:
            return "each ends after so many bytes, and nobody knows what became of the rest"
        client, _, server = self.target.partition(":")
        follows = _CUT.get((client, server))
        return follows if follows is not None else f"{client} does without {server}"

    def _refused(self, links: Links) -> Evidence:
        seen = probe_all(self._ports(links), MUTE_S)
        found = self._doors(links)
        facts = {**_since(found), "open": sum(state["open"] for state in found.values()), "probe": _words(seen)}
        nothing = facts["bytes_through"] == facts["open"] == 0
        words = (REFUSED, CLOSED, RESET) if links.relayed else (REFUSED,)
        return Evidence(nothing and all(each.what in words for each in seen.values()), facts)

    def _silent(self, links: Links) -> Evidence:
        seen = probe_all(self._ports(links), MUTE_S)
        facts = {**_since(self._doors(links)), "probe": _words(seen)}
        return Evidence(facts["bytes_through"] == 0 and _all(seen, NOTHING), facts)

    def _slow(self, links: Links) -> Evidence:
        mode = self._mode
        seen = probe_all(self._ports(links), _SERVER_S + self._least_ms(mode, 2, 65_536) * 2 / 1000)
        least_ms = [self._least_ms(mode, 2, each.sent_bytes + each.received_bytes) for each in seen.values()]
        late = [state["since"]["late"] for state in self._doors(links).values()]
        facts = {
            "probe": _words(seen),
            "asked_ms": round(min(least_ms)),
            "measured_ms": min(each.took_ms for each in seen.values()),
            "late_mean_ms": max(each["mean_ms"] for each in late),
        }
        enough = all(each.took_ms >= least for each, least in zip(seen.values(), least_ms, strict=True))
        return Evidence(enough and _all(seen, ANSWERED), facts)

    @staticmethod
    def _least_ms(mode: Mode, ways: int, count: int) -> float:
        """What so many bytes take at least, over so many directions."""
        of_bytes_s = count / mode.bytes_per_s if mode.bytes_per_s else 0.0
        return (ways * mode.least_delay_s + of_bytes_s) * 1000

    def _reset(self, links: Links) -> Evidence:
        """The first connection that has had its bytes will do: this one's, or one of the members'."""
        began_s = time.monotonic()
        seen = probe_all(self._ports(links), MUTE_S, to_the_end=True)

        def look() -> Evidence:
            facts = {**_since(self._doors(links)), "probe": _words(seen)}
            return Evidence(facts["resets"] > 0, facts)

        return wait_for(look, RESET_DEADLINE_S - (time.monotonic() - began_s))


def _since(doors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the proxy has counted on these doors since they were put into their mode."""
    since = [state["since"] for state in doors.values()]
    return {
        "bytes_through": sum(each["bytes_up"] + each["bytes_down"] for each in since),
        "accepted": sum(each["accepted"] for each in since),
        "resets": sum(each["resets"] for each in since),
    }


def _words(seen: Mapping[str, Seen]) -> str:
    return ", ".join(sorted({each.what for each in seen.values()}))


def _all(seen: Mapping[str, Seen], what: str) -> bool:
    return all(each.what == what for each in seen.values())


def _runs(runtime: Runtime, member: str) -> bool:
    return member_status(runtime, member).state is State.RUNNING
