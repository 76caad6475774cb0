"""Payments to replay, and how to make more."""
