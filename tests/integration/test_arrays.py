"""services.common.arrays against what Postgres itself makes of the literals."""

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.arrays import plain_array, text_array

pytest_plugins = ["tests.integration.fixtures_stores"]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(["NULL", "", "\\"])


def test_postgres_reads_every_text_number_and_uuid_as_it_was(postgres_conninfo):
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:

        def read(literal, kind):
            return connection.execute(f"SELECT %s::{kind}[]", [literal]).fetchone()[0]

        @settings(max_examples=300, deadline=None)
        @given(st.lists(st.none() | TEXTS))
        def texts(values):
            assert read(text_array(values), "text") == values

        @settings(max_examples=200, deadline=None)
        @given(st.lists(st.none() | st.floats(allow_nan=False)), st.lists(st.none() | st.booleans()))
        def numbers(floats, truths):
            assert read(plain_array(floats), "float8") == floats
            assert read(plain_array(truths), "bool") == truths

        @settings(max_examples=100, deadline=None)
        @given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), st.lists(st.uuids()))
        def whole(integers, uuids):
            assert read(plain_array(integers), "int8") == integers
            assert read(plain_array(uuids), "uuid") == uuids

        texts()
        numbers()
        whole()
