"""The benchmark: any webhook system between this publisher and this receiver. What it measures: docs/performance.md."""
