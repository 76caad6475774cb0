"""The closed loop by turns on two stacks that are up beside each other, one of them with old rows in Postgres.

A machine that others share changes its speed within minutes by as much as is looked for: loops before the rows and
loops after them differ by that too. And a stack that has run for an hour is another than one just started: both are
made anew, and loops that are not counted come first, until the brokers' code is compiled.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.load import Load
from bench.measure import Say
from bench.old_rows import fill
from bench.receiver import Receiver
from bench.sitting import Bench
from bench.stack import running_stack

_AGE_S: Final = 20 * 86_400.0
"""How long ago the oldest came: younger than the retention, so that nothing prunes them while it is measured."""
_PER_S: Final = 100.0
_UNCOUNTED: Final = 3
_LOOPS: Final = 6
_LOAD: Final = Load(50_000)
WITHOUT, WITH = "without", "with"


def measure_by_turns(
    state_dir: Path, receiver_port: int, settings: Mapping[str, str], old_rows: int, say: Say
) -> dict[str, Any]:
    """What `old_rows` delivered payments in Postgres cost a new one: medians of six loops on each stack.

    Args:
        state_dir: the stacks' folders lie below it.
        receiver_port: where both send their webhooks.
        settings: of the services of both, by variable.
        old_rows: how many.
        say: told of the progress.

    Raises:
        StackError: a stack does not come up.
        OSError: the port is taken.
    """
    with ExitStack() as open_stacks:
        receiver = open_stacks.enter_context(Receiver(receiver_port))
        benches = {}
        for name in (WITHOUT, WITH):
            stack = open_stacks.enter_context(running_stack(state_dir / name, receiver, settings, say))
            benches[name] = Bench(stack, receiver, say)
        filled_s = fill(benches[WITH].conninfo, old_rows, age_s=_AGE_S, per_s=_PER_S, say=say)
        loops = _loops(benches, say)
    return {
        "old_rows": old_rows,
        "filled_s": filled_s,
        **loops,
        "slower": round(-_change(loops, "delivered_per_s"), 3),
        "dearer": round(_change(loops, "cpu_s_per_1000"), 3),
        "missing": sum(each["missing"] for found in loops.values() for each in found),
    }


def _loops(benches: Mapping[str, Bench], say: Say) -> dict[str, list[dict[str, Any]]]:
    """Each turn begins with the other stack: what a loop leaves behind (dirty pages, a checkpoint) falls on both."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in benches}
    for turn in range(_UNCOUNTED + _LOOPS):
        for name in sorted(benches, reverse=turn % 2 == 0):
            loop = benches[name].run(_LOAD)
            say(f"turn {turn + 1}, {name} old rows: {loop['delivered_per_s']:.0f}/s")
            if turn >= _UNCOUNTED:
                found[name].append(loop)
    return found


def tell_by_turns(found: Mapping[str, Any]) -> str:
    """The figures in a few words."""
    rates = [f"{_median(found[which], 'delivered_per_s'):.0f}" for which in (WITHOUT, WITH)]
    costs = [f"{_median(found[which], 'cpu_s_per_1000'):.2f}" for which in (WITHOUT, WITH)]
    return (
        f"{found['slower']:+.1%} slower ({rates[0]}/s without, {rates[1]}/s), {found['dearer']:+.1%} CPU "
        f"({costs[0]}, {costs[1]} per 1,000), {found['missing']} missing"
    )


def _change(loops: Mapping[str, Sequence[Mapping[str, Any]]], figure: str) -> float:
    """How much more it is with old rows than without: 0.1 where it is a tenth more."""
    return _median(loops[WITH], figure) / _median(loops[WITHOUT], figure) - 1


def _median(loops: Sequence[Mapping[str, Any]], figure: str) -> float:
    return float(statistics.median(each[figure] for each in loops))
