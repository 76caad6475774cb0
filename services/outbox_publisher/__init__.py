"""outbox-publisher: brings into Kafka whatever the API did not."""
