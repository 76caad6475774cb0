"""A run, from its first request to its verdict; and the demo and the benchmark, which are runs with a plan."""
