"""From a CSV file to requests, with an operation log."""
