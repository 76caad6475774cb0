"""ingestion-api: takes payment events over HTTP, commits them, hands them to Kafka."""
