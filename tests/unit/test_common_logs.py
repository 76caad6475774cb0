import json
import logging
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.logs import GatheringHandler, JsonFormatter, PlainFormatter

any_text = st.text(st.characters(exclude_categories=()))


def record(message, *args, **extra):
    made = logging.LogRecord("services.tests", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


@given(any_text, any_text | st.integers() | st.floats())
def test_whatever_comes_from_outside_a_json_line_is_one_line_that_parses(text, value):
    line = JsonFormatter("api").format(record("refused reason=%s", text, field=value))
    assert "\n" not in line
    assert json.loads(line)["message"] == f"refused reason={text}"


@given(any_text)
def test_whatever_comes_from_outside_a_plain_line_holds_no_control_characters(text):
    line = PlainFormatter("api").format(record("%s", text.replace("\n", " ")))
    assert line.isprintable()
    line.encode()


@pytest.mark.parametrize("formatter", [JsonFormatter("api"), PlainFormatter("api")])
def test_the_same_words_stand_in_both_forms(formatter):
    words = "Retrying webhook delivery tid=%s attempt=%d/%d"
    assert "Retrying webhook delivery tid=x attempt=2/3" in formatter.format(record(words, "x", 2, 3))


class Stream:
    """Remembers each write."""

    def __init__(self):
        self.writes = []
        self.written = threading.Event()

    def write(self, text):
        self.writes.append(text)

    def flush(self):
        self.written.set()


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def handler(stream):
    made = GatheringHandler(stream)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def test_lines_that_come_together_are_written_together_and_soon(handler, stream):
    for number in range(100):
        handler.handle(record("%d", number))
    assert stream.written.wait(5)
    assert "".join(stream.writes) == "".join(f"{number}\n" for number in range(100))
    assert len(stream.writes) < 10


def test_a_line_after_a_pause_is_written_too(handler, stream):
    for text in ("a", "b"):
        stream.written.clear()
        handler.handle(record(text))
        assert stream.written.wait(5)
    assert "".join(stream.writes) == "a\nb\n"


def test_a_warning_does_not_wait_and_takes_what_came_before_along(handler, stream):
    handler.handle(record("before"))
    warning = record("careful")
    warning.levelno = logging.WARNING
    handler.handle(warning)
    assert "".join(stream.writes) == "before\ncareful\n"


def test_a_process_that_ends_in_order_has_written_everything():
    code = "import logging; from services.common import logs; logs.setup('api', 'plain', 'INFO'); logging.info('{}')"
    command = [sys.executable, "-c", code.format("last words")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.rstrip().endswith("last words")


def test_a_record_that_cannot_be_formatted_breaks_nothing(handler, stream, capsys):
    handler.handle(record("%d", "no number"))
    handler.handle(record("next"))
    assert stream.written.wait(5)
    assert stream.writes == ["next\n"]
    assert "no number" in capsys.readouterr().err
