import csv
import hashlib
import json
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_room.replay.errors import BadRowsError, OptionsError
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import payments
from control_room.replay.run_folder import RejectedRows
from control_room.replay.source import CsvSource
from control_room.replay.survey import refuse_bad_rows, survey
from services.common.event import COLUMNS, canonical_bytes
from tests.unit import replay_sources as sources


def _read(path, **options):
    rejected = []
    chosen = ReplayOptions(source=path, **options)
    return list(payments(CsvSource(path), chosen, rejected.append)), rejected


def _one(tmp_path, **changes):
    path = tmp_path / "one.csv"
    path.write_text(sources.text([sources.row(0, **changes)]), encoding="utf-8")
    return _read(path)


def test_what_is_sent_is_the_canonical_form_with_the_amount_as_a_number(tmp_path):
    [payment], _ = _one(tmp_path, **{"Sender Name": "आरव शर्मा", "Amount (INR)": "199.90"})
    document = json.loads(payment.body)
    assert document["Amount (INR)"] == 199.9
    assert b'"Amount (INR)": 199.9,' in payment.body
    assert payment.body == canonical_bytes(document)
    assert payment.sha256 == hashlib.sha256(payment.body).hexdigest()
    assert payment.line == 2


@pytest.mark.parametrize("amount", ["0.1", "1e3", "123456789012345678.25", "0.30000000000000000001", "007.10", "+5"])
def test_no_amount_is_changed_on_the_way(tmp_path, amount):
    found, rejected = _one(tmp_path, **{"Amount (INR)": amount})
    if Decimal(amount) >= 10**15:
        assert rejected[0].reasons == ("Amount (INR) must lie between 1e-18 and 1e15",)
    else:
        assert Decimal(str(json.loads(found[0].body, parse_float=Decimal)["Amount (INR)"])) == Decimal(amount)


@pytest.mark.parametrize("amount", ["abc", "", "1,000", "1_000", "nan", "inf", "1e999", "-1", "0", "१२"])
def test_a_wrong_amount_is_rejected(tmp_path, amount):
    found, [rejected] = _one(tmp_path, **{"Amount (INR)": amount})
    assert not found
    assert rejected.line == 2
    assert rejected.reasons[0].startswith("Amount (INR) must ")


def test_all_that_is_wrong_with_a_row_is_named(tmp_path):
    _, [rejected] = _one(tmp_path, **{"Transaction ID": "12", "Timestamp": "soon", "Status": "maybe"})
    assert [reason.split(" must")[0] for reason in rejected.reasons] == ["Transaction ID", "Timestamp", "Status"]


def test_bad_rows_are_named_by_line_and_the_rest_goes_on(tmp_path):
    path = tmp_path / "mixed.csv"
    lines = sources.text([sources.row(number) for number in range(5)]).encode().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"\n", b",one,too many\n")
    lines[3] = b"only,three,cells\n"
    lines[4] = lines[4].replace(b"Aarav", b"Aar\xffv")
    lines.insert(5, b"\n")
    path.write_bytes(b"".join(lines))
    found, rejected = _read(path)
    assert [payment.line for payment in found] == [2, 7]
    assert [(row.line, row.reasons) for row in rejected] == [
        (3, ("has 10 columns, the header has 8",)),
        (4, ("has 3 columns, the header has 8",)),
        (5, ("Sender Name is not UTF-8 text",)),
    ]
    with RejectedRows(tmp_path / "rejected.csv") as kept:
        for row in rejected:
            kept.add(row)
    content = (tmp_path / "rejected.csv").read_bytes()
    assert b"Aar\xffv Sharma" in content, "the bytes as they were"
    again = list(csv.reader(content.decode("latin-1").splitlines()))
    assert again[0] == ["line", "reasons", "row"]
    assert again[2] == ["4", "has 3 columns, the header has 8", "only,three,cells"]


def test_a_rejected_row_runs_in_no_spreadsheet(tmp_path):
    found, [rejected] = _one(tmp_path, **{"Transaction ID": "=cmd|' /C calc'!A0"})
    with RejectedRows(tmp_path / "rejected.csv") as kept:
        kept.add(rejected)
    cell = list(csv.reader((tmp_path / "rejected.csv").open(newline="")))[1][2]
    assert cell.startswith("'=cmd")
    assert not found


@pytest.mark.parametrize("name", ["a\0b", "a\x1b[31mb", "x" * 201, " ", ""])
def test_hostile_names_are_rejected(tmp_path, name):
    found, [rejected] = _one(tmp_path, **{"Sender Name": name})
    assert not found
    assert rejected.reasons[0].startswith("Sender Name must")


def test_a_second_replay_sends_the_same_ids_and_fresh_ones_are_new_but_repeatable(tmp_path):
    path = sources.write(tmp_path / "s.csv", 20)
    ids = [[payment.transaction_id for payment in _read(path, **options)[0]] for options in (
        {"seed": 1}, {"seed": 2}, {"seed": 1, "ids": "fresh"}, {"seed": 1, "ids": "fresh"}, {"seed": 2, "ids": "fresh"},
    )]  # fmt: skip
    assert ids[0] == ids[1] == [sources.transaction_id(number) for number in range(20)]
    assert ids[2] == ids[3]
    assert len({*ids[0], *ids[2], *ids[4]}) == 60


def test_repeating_makes_every_payment_a_new_one_and_rejects_a_row_once(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(sources.text([sources.row(0), sources.row(1, Status="?"), sources.row(2)]))
    found, rejected = _read(path, repeat=3)
    assert len({payment.transaction_id for payment in found}) == 6
    assert [payment.line for payment in found] == [2, 4] * 3
    assert len(rejected) == 1


def test_max_counts_payments_over_all_repetitions_and_not_bad_rows(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(sources.text([sources.row(0, Status="?"), sources.row(1), sources.row(2)]))
    assert len(_read(path, max_payments=3, repeat=5)[0]) == 3
    assert len(_read(path, max_payments=1)[0]) == 1


def test_a_wrong_id_is_a_bad_row_even_where_fresh_ids_replace_it(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(sources.text([sources.row(0, **{"Transaction ID": "x", "Status": "?"})]))
    _, [rejected] = _read(path, ids="fresh")
    assert rejected.reasons == ("Transaction ID must be a UUID", "Status must be SUCCESS or FAILED")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(body=st.binary(max_size=400))
def test_no_bytes_below_the_header_ever_raise_and_every_row_is_accounted_for(tmp_path, body):
    path = tmp_path / "hostile.csv"
    path.write_bytes(",".join(COLUMNS).encode() + b"\n" + body)
    found, rejected = _read(path)
    assert len(found) + len(rejected) == len(list(CsvSource(path).rows()))
    with RejectedRows(tmp_path / "rejected.csv") as kept:
        for row in rejected:
            kept.add(row)


def test_strict_names_the_bad_rows_before_anything_is_sent(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(sources.text([sources.row(0), sources.row(1, Status="?"), sources.row(2, Timestamp="?")]))
    with pytest.raises(BadRowsError, match=r"2 rows are bad, so nothing was sent:\nline 3: Status must.*\nline 4: Ti"):
        refuse_bad_rows(ReplayOptions(source=path))
    refuse_bad_rows(ReplayOptions(source=sources.write(path, 3)))


def test_a_dry_run_says_what_would_be_sent_and_how_long_it_takes(tmp_path):
    path = sources.write(tmp_path / "s.csv", 61)
    found = survey(ReplayOptions(source=path, rate_per_s=10))
    assert (found.payments, found.bad_rows, found.scheduled_s) == (61, 0, 6.0)
    assert found.first.transaction_id == sources.transaction_id(0)
    assert survey(ReplayOptions(source=path, speed=2)).scheduled_s == 30.0
    assert survey(ReplayOptions(source=path)).scheduled_s is None


def test_reading_any_number_of_rows_takes_constant_memory(tmp_path):
    peaks = []
    for count in (200, 20_000):
        path = sources.write(tmp_path / "s.csv", count)
        tracemalloc.start()
        assert sum(1 for _ in payments(CsvSource(path), ReplayOptions(source=path), print)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_500_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate_per_s": 0}, "rate must be a number greater than 0."),
        ({"speed": float("nan")}, "speed must be"),
        ({"rate_per_s": 1, "speed": 1}, "exclude each other"),
        ({"repeat": 0}, "repeat must be at least 1."),
        ({"max_payments": -1}, "max must be at least 1."),
        ({"concurrency": 20_000}, "at most 10,000"),
        ({"ids": "old"}, "ids must be file or fresh"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_a_sentence(tmp_path, options, sentence):
    with pytest.raises(OptionsError) as caught:
        ReplayOptions(source=tmp_path, **options)
    assert sentence in str(caught.value)


def test_options_come_back_from_run_json_as_they_were(tmp_path):
    options = ReplayOptions(source=tmp_path / "x.csv", rate_per_s=5.5, repeat=2)
    assert ReplayOptions.from_document(json.loads(json.dumps(options.document()))) == options
    assert options.ids == "fresh"
    with pytest.raises(OptionsError, match="cannot be read"):
        ReplayOptions.from_document({})
