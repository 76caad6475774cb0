"""services.common.arrays: what Postgres makes of the literals is in tests/integration/test_recorder_arrays.py."""

from services.common.arrays import plain_array, text_array


def test_numbers_truth_values_and_nothing_stand_as_they_are():
    assert plain_array([1, None, 2.5, True, "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f"]) == (
        "{1,NULL,2.5,True,4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f}"
    )
    assert plain_array([]) == text_array([]) == "{}"


def test_a_text_that_says_null_is_a_text():
    assert text_array(["NULL", "null", None, ""]) == '{"NULL","null",NULL,""}'


def test_what_means_something_in_a_literal_is_quoted():
    assert text_array(['a"b', "a\\b", "a,b", "{}", "a b"]) == r'{"a\"b","a\\b","a,b","{}","a b"}'
