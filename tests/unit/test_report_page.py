"""report.html: one file that loads nothing, runs nothing, hides nothing, and stays small."""

import base64
import hashlib
import html
import re
import shutil
from html.parser import HTMLParser

from control_room.reports import write_report
from control_room.reports.contents import gather_contents
from control_room.reports.page import page
from control_room.reports.uncommon import SHOWN
from control_room.verify import Outcome, Verdict
from control_room.verify.classes import TransactionClass
from control_room.verify.deliveries import Delivery
from control_room.verify.duplicates import Cause
from tests.unit.histories import T0, History, tid

A = tid(0xA)
HOSTILE = "<script>alert(1)</script>\u202e\x07\"'><img src=//x onerror=a()> &lt; {{ 7*7 }} </style>"


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def made(history):
    folder = history.write()
    write_report(folder)
    return (folder / "report.html").read_text()


def hostile(folder):
    history = History(folder, run=HOSTILE).accepted_and_delivered(1, 2)
    history.settings = {"settings": {HOSTILE: HOSTILE}, "versions": {"bruce": HOSTILE}}
    history.heal(history.fault(HOSTILE, HOSTILE), ok=False)
    history.send(HOSTILE)
    history.deliver(HOSTILE)
    history.deliver(HOSTILE, att=HOSTILE, src=HOSTILE, by=HOSTILE)
    history.send(A)
    history.store(A, "dead", error=HOSTILE * 50)
    return history


def rows(count, outcome=TransactionClass.RECOVERED, why="x" * 300):
    for number in range(count):
        at = T0 + number / 100
        causes = (Cause.ANSWER_LOST, Cause.UNEXPLAINED)
        yield Delivery(tid(number), at, at + number % 50, 3, 2, "500 -1 200", 2, causes, outcome, why)


def test_what_comes_from_files_is_text_in_the_page_and_never_markup(tmp_path):
    text = made(hostile(tmp_path / "run"))
    found = Elements(text)
    assert not found.tags & {"script", "img", "iframe", "object", "link", "base", "form", "a"}
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert text.count("</style>") == 1
    assert html.escape("<script>alert(1)</script>", quote=False) in text
    assert "{{ 7*7 }}" in text


def test_characters_that_hide_or_turn_text_are_shown_as_what_they_are(tmp_path):
    text = made(hostile(tmp_path / "run"))
    assert "\u202e" not in text
    assert "\\u202e\\x07" in text


def test_the_policy_of_the_page_forbids_everything_but_its_own_style(tmp_path):
    text = made(History(tmp_path / "run").accepted_and_delivered(1))
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    sha = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{sha}'; base-uri 'none'; form-action 'none'"


def test_the_page_refers_to_nothing_outside_itself(tmp_path):
    text = made(History(tmp_path / "run").accepted_and_delivered(1))
    assert not {name for _, name, _ in Elements(text).attributes} & {"src", "href", "srcset", "action", "xlink:href"}
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_follows_the_readers_colours_width_and_printer(tmp_path):
    text = made(History(tmp_path / "run").accepted_and_delivered(1))
    assert "prefers-color-scheme: dark" in text
    assert "max-width" in text
    assert "@media print" in text
    assert 'name="viewport" content="width=device-width' in text


def test_the_page_shows_verdict_faults_curves_recovery_causes_settings_and_hashes(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1, 2)
    history.heal(history.fault("kill", "kafka-2"))
    history.send(A)
    history.deliver(A, att="1.1")
    history.deliver(A, att="1.2")
    text = made(history)
    for expected in (
        "<h1>PROVEN</h1>",
        "<b>3</b> accepted",
        "kill kafka-2",
        "pid: 812, pid_gone: true",
        "Throughput, per second",
        "Backlog: acknowledged, not delivered",
        "first delivery after it",
        "≤ 1 s",
        "redelivered after the answer was lost",
        "settings.rate",
        '<th scope="row">seed</th><td>1</td>',
        gather_contents(history.folder).verdict.inputs["ledger.jsonl"],
        A,
    ):
        assert expected in text, expected


def test_an_invalid_run_names_its_violations_first(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.send(A)
    history.store(A, "dead", error="410 Gone")
    text = made(history)
    assert "<h1>INVALID</h1>" in text
    assert '<li class="bad"><b>1</b> lost</li>' in text
    assert "dead-lettered: 410 Gone" in text


def test_a_fault_without_evidence_is_never_shown_as_verified(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.fault(ok=False)
    text = made(history)
    assert "<h1>UNKNOWN</h1>" in text
    assert "NOT VERIFIED" in text
    assert "faults, NOT all verified" in text


def test_damaged_evidence_still_gives_a_page_that_says_so(tmp_path):
    folder = History(tmp_path / "run").accepted_and_delivered(1).write()
    (folder / "ledger.jsonl").unlink()
    write_report(folder)
    text = (folder / "report.html").read_text()
    assert "<h1>UNKNOWN</h1>" in text
    assert "too damaged to give any transaction a class" in text


def test_an_empty_folder_gives_a_page_too(tmp_path):
    write_report(tmp_path)
    assert "<h1>UNKNOWN</h1>" in (tmp_path / "report.html").read_text()


def test_damaged_times_stretch_no_axis_and_break_no_page(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1, 2)
    history.settings = {"started_at": 1e300}
    history.fault(at=1e200)
    history.fault(at=-5.0)
    assert "kill dispatcher" in made(history)


def test_the_same_bytes_come_from_a_copy_of_the_folder_under_another_name(tmp_path):
    folder = hostile(tmp_path / "run").write()
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "other-name")
    write_report(folder)
    write_report(copy)
    assert (copy / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_a_hundred_thousand_uncommon_transactions_stay_far_under_five_megabytes(tmp_path):
    verdict = Verdict("big", Outcome.PROVEN, classes={"recovered": 100_000}, deliveries=list(rows(100_000)))
    text = page(gather_contents(tmp_path, verdict))
    assert len(text.encode()) < 1_000_000
    assert f"{SHOWN} of 100,000" in text


def test_no_class_of_uncommon_ids_crowds_out_another(tmp_path):
    mixed = [*rows(5_000), *rows(3, TransactionClass.LOST, "lost it"), *rows(5_000, TransactionClass.DELIVERED)]
    contents = gather_contents(tmp_path, Verdict("big", Outcome.INVALID, deliveries=mixed))
    shown = [row.outcome for row in contents.uncommon.rows()]
    assert len(shown) == SHOWN
    assert shown[:3] == [TransactionClass.LOST] * 3
    assert {TransactionClass.RECOVERED, TransactionClass.DELIVERED} <= set(shown)
    assert contents.uncommon.count == 10_003
