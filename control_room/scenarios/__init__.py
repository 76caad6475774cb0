"""Scenarios: faults in an order, as files that run alike from everywhere."""
