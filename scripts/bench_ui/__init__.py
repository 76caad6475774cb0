"""What the control room costs, row by row of the table in docs/performance.md."""
