import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.logs import JsonFormatter, PlainFormatter

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
