"""Tests that need nothing but Python, and take seconds."""
