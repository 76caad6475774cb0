"""The filter language of the transactions: `state:retrying,outbox try>2 age>10s http:500 amount>=5000 anna`.

Terms are separated by blanks and must all hold. A term is `state:NAME[,NAME]`, a figure with a comparison, `id:PREFIX`,
or a bare word that the id begins with, or that a name or the last error holds. A word that looks like a term is quoted:
`"age>1"`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from control_room.durations import seconds
from control_room.tracking.states import ACCEPTED, MISSING, STATES

if TYPE_CHECKING:  # values of it are looked at; a screen that only draws them loads no database client
    from control_room.tracking.transactions import TransactionRow

NO_ANSWER: Final = "t/o"
"""`http:t/o`: the last attempt got no answer."""
_OPEN_STATES: Final = frozenset(STATES) - {"delivered", "dead"}
_STATES_OF: Final = {ACCEPTED: frozenset({"outbox", "in-kafka"})}
"""A state that stands for one of several."""
_TERM: Final = re.compile(r'"([^"]*)"|(\S+)')
_FIGURE: Final = re.compile(r"(try|round|age|amount)(>=|<=|>|<|=)(.*)")
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}


class FilterError(ValueError):
    """Text that is no filter. The message says what can be written."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`try>2`: a figure of the transaction against a number."""

    figure: str
    """One of `try round age amount`."""
    sign: str
    value: float
    """Seconds for `age`."""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.figure}{self.sign}{self.value:.15g}{'s' if self.figure == 'age' else ''}"


@dataclass(frozen=True, slots=True)
class Filter:
    """What must hold of a transaction."""

    states: frozenset[str] = frozenset()
    """Empty: any."""
    figures: tuple[Comparison, ...] = ()
    answers: frozenset[str] = frozenset()
    """Statuses as text, or NO_ANSWER. Empty: any."""
    prefixes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The filter as it is written; parses to the same again."""
        terms = [f"state:{','.join(sorted(self.states))}"] if self.states else []
        terms += [str(figure) for figure in self.figures]
        terms += [f"http:{','.join(sorted(self.answers))}"] if self.answers else []
        terms += [f"id:{prefix}" for prefix in self.prefixes]
        terms += [f'"{word}"' for word in self.words]
        return " ".join(terms)

    def takes(self, state: str) -> bool:
        """Whether a transaction in `state` may fit."""
        return not self.states or bool(self.states & _STATES_OF.get(state, frozenset({state})))

    def fits(self, row: TransactionRow, now_s: float) -> bool:
        """Whether all of it holds of `row` at `now_s` (Unix)."""
        if not self.takes(row.state):
            return False
        if self.answers and _answer(row) not in self.answers:
            return False
        if not all(_COMPARE[each.sign](_figure(row, each.figure, now_s), each.value) for each in self.figures):
            return False
        if not all(row.transaction_id.startswith(prefix) for prefix in self.prefixes):
            return False
        return all(_holds(row, word) for word in self.words)


ANYTHING: Final = Filter()
"""Fits every transaction."""


def parse_filter(text: str) -> Filter:
    """The filter that `text` writes; an empty text fits everything. Raises FilterError."""
    states: set[str] = set()
    answers: set[str] = set()
    figures: list[Comparison] = []
    prefixes: list[str] = []
    words: list[str] = []
    for quoted, bare in _TERM.findall(text):
        if quoted or not bare:
            words += [quoted.lower()] if quoted else []
        elif bare.startswith("state:"):
            states |= _states(bare[6:])
        elif bare.startswith("http:"):
            answers |= _answers(bare[5:])
        elif bare.startswith("id:"):
            prefixes.append(bare[3:].lower())
        elif found := _FIGURE.fullmatch(bare):
            figures.append(Comparison(found[1], found[2], _value(found[1], found[3])))
        else:
            words.append(bare.lower().replace('"', ""))
    return Filter(
        frozenset(states), tuple(figures), frozenset(answers), tuple(prefixes), tuple(word for word in words if word)
    )


def undelivered_s(row: TransactionRow, now_s: float) -> float:
    """How long it took until it was delivered; while it is not, how long it waits already."""
    return max(0.0, (row.delivered_at_s or now_s) - row.accepted_at_s)


def _states(text: str) -> set[str]:
    named = {name for name in text.lower().split(",") if name}
    if "any" in named or not named:
        return set()
    if "open" in named:
        named = named - {"open"} | _OPEN_STATES
    if unknown := named - {*STATES, MISSING}:
        raise FilterError(f"there is no state {', '.join(sorted(unknown))}; states are {', '.join(STATES)}, open, any")
    return named


def _answers(text: str) -> set[str]:
    named = {name for name in text.lower().split(",") if name}
    for name in named:
        if name != NO_ANSWER and not re.fullmatch(r"[1-5][0-9]{2}", name):
            raise FilterError(f"{name!r} is no answer; write http:500, http:200,429 or http:{NO_ANSWER}")
    return named


def _value(figure: str, text: str) -> float:
    try:
        value = seconds(text) if figure == "age" else float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:
        unit = "a duration such as 10s or 2m" if figure == "age" else "a number"
        raise FilterError(f"{figure} is compared with {unit}, not with {text!r}")
    return value


def _figure(row: TransactionRow, figure: str, now_s: float) -> float:
    if figure == "age":
        return undelivered_s(row, now_s)
    if figure == "amount":
        return float(row.amount_inr)
    return row.attempts_total if figure == "try" else row.round


def _answer(row: TransactionRow) -> str:
    if row.last_status is not None:
        return str(row.last_status)
    return NO_ANSWER if row.last_error else ""


def _holds(row: TransactionRow, word: str) -> bool:
    if row.transaction_id.startswith(word):
        return True
    return any(word in (text or "").lower() for text in (row.sender_name, row.receiver_name, row.last_error))
