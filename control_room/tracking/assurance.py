"""Is anything lost? One word for it, with the sum it rests on and how old that is. A pure function of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.filter import undelivered_s
from control_room.tracking.snapshot import Snapshot

if TYPE_CHECKING:
    from control_room.tracking.runs import RunStanding, RunSummary

ALARM_AFTER_S: Final = 3.0
"""Places are read one after the other, so a look may miss a moving payment; one that stays missed is an alarm."""
BEHIND_AFTER_S: Final = 10.0
"""An undelivered payment of this age means that deliveries are behind."""
OLD_EVIDENCE_S: Final = 5.0
_VIOLATIONS: Final = ("lost", "stranded", "phantom", "leaked", "corrupt", "bad-signature")


class Word(StrEnum):
    """How it stands."""

    FINE = "fine"
    BEHIND = "behind"
    ALARM = "alarm"
    BROKEN = "broken"
    UNKNOWN = "unknown"


GLYPHS: Final = {Word.FINE: "✓", Word.BEHIND: "…", Word.ALARM: "!", Word.BROKEN: "✗", Word.UNKNOWN: "?"}


@dataclass(frozen=True, slots=True)
class Assurance:
    """The verdict line."""

    word: Word
    sentence: str
    subject: str
    """What it speaks of: a run, or everything in Postgres."""
    sum: str = ""
    """The arithmetic as a line; empty where there is none."""
    lost: int | None = None
    """Known to be lost; None where nobody has judged."""
    unaccounted: int | None = None
    duplicated: int | None = None
    """Payments of the run that arrived more than once; None where nobody counted."""
    oldest_s: float | None = None
    """Age of the oldest undelivered payment; None where none waits, or nobody could tell."""
    evidence_age_s: float | None = None

    @property
    def headline(self) -> str:
        """Glyph and sentence: `✓ no loss so far`."""
        return f"{GLYPHS[self.word]} {self.sentence}"


def assure(snapshot: Snapshot) -> Assurance:
    """How it stands at this moment."""
    standing = snapshot.run.value
    if standing is not None and standing.summary.arithmetic is not None:
        return _judged(standing.summary, snapshot)
    if not snapshot.is_up:
        why = "no stack is up" if snapshot.stack.error and snapshot.number else "looking"
        return Assurance(Word.UNKNOWN, f"unknown: {why}", "")
    if snapshot.run.error:
        return Assurance(Word.UNKNOWN, f"unknown: {snapshot.run.error}", "", evidence_age_s=snapshot.run.age_s or None)
    if standing is not None and standing.arithmetic is not None:
        return _running(standing, standing.arithmetic, snapshot)
    return _whole(snapshot)


def _judged(run: RunSummary, snapshot: Snapshot) -> Assurance:
    classes = run.classes or {}
    broken = {name: classes[name] for name in _VIOLATIONS if classes.get(name)}
    reason = run.reasons[0] if run.reasons else "no reason given"
    word, sentence = {
        "proven": (Word.FINE, "PROVEN: nothing was lost"),
        "late": (Word.BEHIND, f"LATE: {reason}"),
        "invalid": (Word.BROKEN, ", ".join(f"{name.upper()} {count}" for name, count in broken.items()) or reason),
    }.get(run.verdict, (Word.UNKNOWN, f"unknown: {reason}"))
    total = run.arithmetic or Arithmetic(0, 0)
    return Assurance(
        word,
        sentence,
        f"run {run.run_id}",
        total.line(),
        classes.get("lost"),
        total.unaccounted,
        classes.get("duplicated"),
        _oldest_s(snapshot),
        snapshot.run.age_s,
    )


def _running(standing: RunStanding, total: Arithmetic, snapshot: Snapshot) -> Assurance:
    oldest_s, age_s = _oldest_s(snapshot), snapshot.run.age_s
    # A silent dispatcher blinds nobody: where its transactions are stands in Postgres, what arrived in the ledger.
    quiet = [note for note in total.stale if note.startswith("dispatcher ")]
    blind = [note for note in total.stale if note not in quiet]
    if blind or age_s > OLD_EVIDENCE_S:
        word, sentence = Word.UNKNOWN, f"unknown: {'; '.join(blind) or f'the last look is {age_s:.0f} s old'}"
    else:
        word, sentence = _counted(total, standing.unaccounted_for_s, oldest_s)
        if quiet and word is Word.FINE:
            word, sentence = Word.BEHIND, "catching up"
        sentence = ", ".join([sentence, *quiet])
    line = Arithmetic.line(total).split(";")[0]
    subject = f"run {standing.summary.run_id}"
    twice = standing.duplicated
    return Assurance(word, sentence, subject, line, None, total.unaccounted, twice, oldest_s, age_s)


def _whole(snapshot: Snapshot) -> Assurance:
    part, subject = snapshot.counts, "everything in Postgres"
    if part.value is None or part.error:
        return Assurance(Word.UNKNOWN, f"unknown: {part.error or 'Postgres was not asked yet'}", subject)
    oldest_s = _oldest_s(snapshot)
    word, sentence = _counted(part.value, ALARM_AFTER_S if part.value.unaccounted else 0.0, oldest_s)
    return Assurance(
        word, sentence, subject, part.value.line(), None, part.value.unaccounted, None, oldest_s, part.age_s
    )


def _counted(total: Arithmetic, unaccounted_for_s: float, oldest_s: float | None) -> tuple[Word, str]:
    if total.unaccounted and unaccounted_for_s >= ALARM_AFTER_S:
        return Word.ALARM, f"unaccounted {total.unaccounted} for {unaccounted_for_s:.0f} s"
    if total.unaccounted or total.dead or (oldest_s or 0.0) > BEHIND_AFTER_S:
        dead = f", {total.dead} dead-lettered" if total.dead else ""
        return Word.BEHIND, f"catching up{dead}"
    return Word.FINE, "no loss so far"


def _oldest_s(snapshot: Snapshot) -> float | None:
    listing = snapshot.transactions.value
    if listing is None or listing.oldest_open is None:
        return None
    return undelivered_s(listing.oldest_open, snapshot.taken_at_s)
