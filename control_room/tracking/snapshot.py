"""One frozen moment of everything the control room knows. Views draw it; nothing in it can be changed or waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from control_room.tracking.parts import Part

if TYPE_CHECKING:  # whoever only draws snapshots loads none of what fills them
    from control_room.stack.runtime import Endpoints
    from control_room.tracking.arithmetic import Arithmetic
    from control_room.tracking.faults_view import FaultsView
    from control_room.tracking.kafka_view import KafkaStatus
    from control_room.tracking.ledger_tail import LedgerView
    from control_room.tracking.listing import Listing
    from control_room.tracking.log_tail import LogView
    from control_room.tracking.members import MemberView
    from control_room.tracking.pipeline import OutboxStatus, PipelineStatus
    from control_room.tracking.runs import RunStanding, RunSummary

_UNASKED: Final[Part[Any]] = Part(None, "not asked yet")


@dataclass(frozen=True, slots=True)
class Pace:
    """What flowed per second, oldest first; the last is of the newest second."""

    accepted: tuple[float, ...] = ()
    """Payments that appeared in Postgres."""
    produced: tuple[float, ...] = ()
    """Records that Kafka took."""
    consumed: tuple[float, ...] = ()
    """Records that were committed."""
    delivered: tuple[float, ...] = ()
    """Deliveries that the merchant answered with 2xx."""
    failed: tuple[float, ...] = ()
    """Deliveries that it answered otherwise."""


@dataclass(frozen=True, slots=True)
class MerchantView:
    """What the merchant-server tells of itself."""

    behaviour: Mapping[str, Any]
    answers: Mapping[str, int]
    """Deliveries by answer since its start."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, now. A part whose source is silent keeps its last value, with its age and the reason."""

    number: int = 0
    taken_at_s: float = 0.0
    """Unix time."""
    runtime: str = "local"
    stack: Part[Endpoints] = _UNASKED
    """Where it answers; an error where no stack was started."""
    members: Part[tuple[MemberView, ...]] = _UNASKED
    kafka: Part[KafkaStatus] = _UNASKED
    outbox: Part[OutboxStatus] = _UNASKED
    dispatcher: Part[dict[str, Any]] = _UNASKED
    merchant: Part[MerchantView] = _UNASKED
    links: Part[dict[str, Any]] = _UNASKED
    """The proxy of the links, in its own words; empty where the stack has no links."""
    ledger: Part[LedgerView] = _UNASKED
    counts: Part[Arithmetic] = _UNASKED
    """Every payment in Postgres, as Postgres tells it."""
    transactions: Part[Listing] = _UNASKED
    run: Part[RunStanding] = _UNASKED
    """The newest run; a value of None without an error where there is none."""
    runs: Part[tuple[RunSummary, ...]] = _UNASKED
    faults: Part[FaultsView] = _UNASKED
    logs: Part[LogView] = _UNASKED
    pace: Pace = field(default_factory=Pace)

    @property
    def is_up(self) -> bool:
        """Whether a stack was started."""
        return self.stack.ok

    def told(self) -> list[tuple[Any, str]]:
        """What the sources said, without how old it is: equal for two snapshots between which nothing happened."""
        parts = (getattr(self, item.name) for item in fields(self))
        return [(part.value, part.error) for part in parts if isinstance(part, Part)]

    def pipeline(self) -> PipelineStatus:
        """The same as the verb `status` shows it."""
        from control_room.tracking.pipeline import PipelineStatus  # see above

        members, merchant = self.members.value, self.merchant.value
        return PipelineStatus(
            self.taken_at_s,
            self.runtime,
            Part(
                None if members is None else [member.status for member in members],
                self.members.error,
                self.members.age_s,
            ),
            self.kafka,
            self.outbox,
            self.dispatcher,
            Part(None if merchant is None else dict(merchant.behaviour), self.merchant.error, self.merchant.age_s),
            self.links,
        )
