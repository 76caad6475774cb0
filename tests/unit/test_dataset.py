import csv
import io
import os
import re
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import pytest

import dataset
from dataset import generate
from services.common.event import AMOUNT, COLUMNS, validate

COMMITTED = Path(dataset.__file__).with_name("transactions.csv")


def _generated(rows=1000, seed=generate.DEFAULT_SEED):
    file = io.StringIO()
    generate.write(file, rows, seed)
    return file.getvalue()


def test_the_committed_file_is_exactly_what_the_documented_seed_makes():
    assert COMMITTED.read_bytes() == _generated().encode()
    assert f"--rows 1000 --seed {generate.DEFAULT_SEED}" in generate.__doc__


def test_the_sequence_does_not_depend_on_the_python_version():
    """Written down once: a change here makes every run's source another one."""
    first = next(generate.rows(1, 1))
    assert first == next(generate.rows(1, 1))
    assert next(iter(generate.rows(1000, generate.DEFAULT_SEED)))[0] == "217ccc6e-584f-4111-b2ad-4c19212970d3"


def test_every_row_is_a_valid_event_of_its_own():
    rows = list(csv.DictReader(io.StringIO(_generated(5000, 3))))
    events = [validate({**row, AMOUNT: float(row[AMOUNT])}) for row in rows]
    assert tuple(rows[0]) == COLUMNS
    assert len({event.transaction_id for event in events}) == 5000
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event.transaction_id)
        for event in events
    )
    assert all(1 <= event.amount <= 200_000 for event in events)
    assert all(re.fullmatch(r"\d+\.\d\d", row[AMOUNT]) for row in rows)
    assert all(row["Sender UPI ID"].isascii() for row in rows)


def test_the_rows_look_like_a_day_of_payments():
    rows = list(csv.DictReader(io.StringIO(_generated())))
    amounts = sorted(float(row[AMOUNT]) for row in rows)
    assert amounts[500] < 1000 < amounts[-1]
    assert 0.02 < sum(row["Status"] == "FAILED" for row in rows) / 1000 < 0.07
    assert any("," in row["Receiver Name"] and '"' in row["Receiver Name"] for row in rows)
    letters = "".join(row["Sender Name"] + row["Receiver Name"] for row in rows)
    for script in ("\u0900-\u097f", "\u0b80-\u0bff", "\u00c0-\u024f"):
        assert re.search(f"[{script}]", letters), f"no letters of {script}"
    times = [row["Timestamp"] for row in rows]
    assert times == sorted(times)
    minutes = [time[:16] for time in times]
    busiest = max(minutes.count(minute) for minute in set(minutes))
    assert busiest >= 8, "no burst"


def test_another_seed_makes_other_rows_and_the_ids_never_meet():
    assert not {row[0] for row in generate.rows(500, 1)} & {row[0] for row in generate.rows(500, 2)}


def test_rows_come_one_by_one_however_many_there_will_be():
    firsts = list(islice(generate.rows(50_000_000, 1), 3))
    assert all(a[1] <= b[1] for a, b in pairwise(firsts))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_small_files_have_as_many_rows_as_asked_for(rows):
    assert _generated(rows).count("\n") == rows + 1


def test_the_command_writes_the_same_file_to_stdout_and_to_a_path(tmp_path):
    command = [sys.executable, "-m", "dataset.generate", "--rows", "50", "--seed", "9"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONHASHSEED": "7"}
    shown = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=30)
    written = tmp_path / "made.csv"
    subprocess.run([*command, "-o", written], check=True, env=environment, timeout=30)
    assert shown.stdout == written.read_bytes() == _generated(50, 9).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["made.csv"]


def test_an_unwritable_path_is_a_sentence(tmp_path, capsys):
    assert generate.main(["-o", str(tmp_path / "missing" / "x.csv")]) == 1
    assert "cannot be written: No such file or directory." in capsys.readouterr().err


def test_a_wrong_count_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        generate.main(["--rows", "-3"])
    assert caught.value.code == 2
    assert "whole number" in capsys.readouterr().err
