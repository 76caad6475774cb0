"""Gathering what a verdict rests on, over the network: following a run, waiting for its drain, copying its evidence.

In order: `topic_id`, `open_ids_before` and `ledger_position` before the first request; `RunFollower` while it runs;
`wait_for_drain` and `gather` after it. The verdict itself is `control_room.verify`, which reads files alone.
"""

from control_room.tracking.evidence.before import ledger_position, open_ids_before, topic_id
from control_room.tracking.evidence.drain import DrainOutcome, wait_for_drain
from control_room.tracking.evidence.follower import RunFollower
from control_room.tracking.evidence.gathering import Gathered, gather

__all__ = [
    "DrainOutcome",
    "Gathered",
    "RunFollower",
    "gather",
    "ledger_position",
    "open_ids_before",
    "topic_id",
    "wait_for_drain",
]
