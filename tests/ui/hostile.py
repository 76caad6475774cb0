"""A snapshot in which every text that comes from outside means harm."""

from __future__ import annotations

from dataclasses import replace

from control_room.stack.runtime import MEMBERS
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.faults_view import FaultLine, FaultsView, RunningFault
from control_room.tracking.listing import Listing, Query
from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.parts import Part
from control_room.tracking.runs import RunStanding
from control_room.tracking.snapshot import MerchantView
from control_room.tracking.steps import StepRow, Steps, StepState
from tests.ui.moments import HEALTHY, NOW_S, kafka, member, run, transaction

HOSTILE = "\x1b[31m\x1b]0;owned\x07[bold red]Zoë[/] 木村✓\u202e\n\t" + "ẍ" * 10_000
"""Escape sequences, markup, wide and combining characters, direction marks, line breaks, and ten thousand of one."""

RUN = run(
    "invalid", run_id=HOSTILE, what=HOSTILE, reasons=(HOSTILE,), classes={HOSTILE: 3}, arithmetic=Arithmetic(1, 1)
)

HOSTILE_EVERYWHERE = replace(
    HEALTHY,
    runtime="local",
    members=Part(tuple(member(name, ready=False, reason=HOSTILE) for name in MEMBERS), HOSTILE),
    kafka=Part(replace(kafka(), topic=HOSTILE, notes=(HOSTILE,)), HOSTILE, 3.0),
    dispatcher=Part({"assigned": [HOSTILE], "phase": HOSTILE, "paused": True, "paused_until": HOSTILE}, HOSTILE),
    merchant=Part(MerchantView({"mode": HOSTILE, "failure_rate": HOSTILE}, {HOSTILE: 3}), HOSTILE),
    transactions=Part(
        Listing(
            Query(),
            tuple(
                transaction(
                    number,
                    sender_name=HOSTILE,
                    receiver_name=HOSTILE,
                    last_status=None,
                    last_error=HOSTILE,
                    state="retrying",
                    accepted_by=HOSTILE,
                    delivered_at_s=None,
                )
                for number in range(50)
            ),
            50,
            50,
        ),
        HOSTILE,
    ),
    run=Part(
        RunStanding(
            RUN,
            Arithmetic(1, 1),
            steps=Steps(HOSTILE, (StepRow(0, HOSTILE, StepState.FAILED, NOW_S, NOW_S, HOSTILE),)),
        )
    ),
    runs=Part((RUN,)),
    faults=Part(
        FaultsView(
            (RunningFault(1, HOSTILE, HOSTILE, NOW_S, HOSTILE, True, {HOSTILE: HOSTILE}, None),),
            (FaultLine(NOW_S, "apply", 1, True, HOSTILE),),
        ),
        HOSTILE,
    ),
    logs=Part(LogView((LogLine(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE),) * 30, 0), HOSTILE),
)
