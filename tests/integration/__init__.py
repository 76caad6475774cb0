"""Tests against real servers."""

import pytest

# Fixture modules hold assertions too, and test modules import them before pytest hears of them as plugins.
pytest.register_assert_rewrite(
    "tests.integration.fixtures_stores", "tests.integration.fixtures_api", "tests.integration.fixtures_tracking"
)
