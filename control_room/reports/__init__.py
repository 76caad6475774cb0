"""A verdict made readable."""
