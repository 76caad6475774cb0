"""The command line: every action as a verb."""
