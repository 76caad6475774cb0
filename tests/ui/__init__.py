"""The control room's screen, driven by keys over snapshots that were made up: no stack, no engine."""
