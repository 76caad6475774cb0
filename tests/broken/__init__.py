"""Services with one bug each, to be run in a member's place: the verdict must never be green with one of them.

Each module patches the real service and runs it: `bruce-control up --replace dispatcher="python -m tests.broken.…"`.
"""
