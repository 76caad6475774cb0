"""Faults: applied with evidence, journalled, healed."""
