"""What the merchant was asked: during its outage, in the seconds after it, and how soon at the full rate."""

import pytest

from control_room.reports import write_report
from control_room.reports.contents import gather_contents
from control_room.reports.merchant_load import merchant_load
from control_room.verify.faults import Fault
from tests.unit.histories import T0, History, tid

BEGIN, END = T0 + 10, T0 + 70


def outage(target="merchant-server", healed_at=END):
    return Fault(1, "merchant", target, BEGIN - 0.2, verified=True, evidence_at=BEGIN, healed_at=healed_at)


def requests(*stretches):
    """Request times of (begin, end, per second) stretches."""
    return sorted(
        begin + number / per_s for begin, end, per_s in stretches for number in range(round((end - begin) * per_s))
    )


def test_the_plateau_of_probes_is_told_from_the_burst_before_the_pause():
    found = merchant_load(outage(), requests((BEGIN, BEGIN + 4, 200), (BEGIN + 4, END, 1)), END + 10)
    assert found.during_per_s == pytest.approx(1.0, abs=0.1)


def test_a_ramp_and_a_herd_look_different():
    doubling = [(END + at / 2, END + at / 2 + 0.5, 20 * 2**at) for at in range(6)]
    ramp = merchant_load(outage(), requests(*doubling, (END + 3, END + 8, 640)), END + 8)
    herd = merchant_load(outage(), requests((END, END + 8, 640)), END + 8)
    assert ramp.first_seconds == (30, 120, 480, 640)
    assert herd.first_seconds == (640,) * 4
    assert ramp.highest_per_s == herd.highest_per_s == 640
    assert ramp.nearly_after_s == pytest.approx(2.5, abs=0.2)
    assert herd.nearly_after_s == 0.0


def test_what_comes_after_the_backlog_is_back_does_not_count_as_its_rate():
    later = requests((END, END + 2, 100), (END + 30, END + 31, 5000))
    assert merchant_load(outage(), later, END + 2).highest_per_s == 100


def test_the_close_up_shows_the_seconds_around_the_end():
    curve = merchant_load(outage(), requests((END - 5, END, 4), (END, END + 10, 400)), END + 10).close_up_per_s
    assert curve[:20] == (4.0,) * 20
    assert curve[20:] == (400.0,) * 40


def test_a_merchant_that_was_asked_nothing_any_more_never_gets_there():
    found = merchant_load(outage(), [], END + 10)
    assert (found.during_per_s, found.highest_per_s, found.nearly_after_s) == (0, 0, None)


@pytest.mark.parametrize("fault", [outage("dispatcher"), outage(healed_at=0.0), outage("dispatcher→merchant-server")])
def test_only_what_lay_on_the_merchant_for_a_while_is_told(fault):
    assert merchant_load(fault, requests((BEGIN, END, 5)), END) is None


def test_the_reports_show_the_figures_and_the_curves(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    number = history.fault("merchant", "merchant-server", at=T0 + 5)
    history.send(tid(2))
    for second in range(6, 20):
        history.deliver(tid(2), status=500, at=T0 + second, src="0@2")
    history.heal(number, at=T0 + 20.5)
    history.deliver(tid(2), at=T0 + 21, src="0@2")
    folder = history.write()
    text = write_report(folder).read_text()
    assert "| 1 | 0.9 | 1, 0, 0, 0 | 2 |" in text
    page = (folder / "report.html").read_text()
    assert "Requests at the merchant, per second" in page
    assert "Requests at the merchant around the end of fault 1" in page


def test_a_run_without_a_fault_of_the_merchant_shows_no_such_table(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.heal(history.fault("kill", "kafka-2"))
    folder = history.write()
    assert gather_contents(folder).merchant_loads() == []
    write_report(folder)
    assert "around the end of fault" not in (folder / "report.html").read_text()
