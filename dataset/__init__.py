"""Payments to replay, and how to make more."""

from pathlib import Path
from typing import Final

PAYMENTS: Final = Path(__file__).parent / "transactions.csv"
"""The 1,000 payments that come with the project."""
