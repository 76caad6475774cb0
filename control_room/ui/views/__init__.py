"""The seven views: each draws a snapshot and does the commands of its own."""
