"""dispatcher: takes events from Kafka and delivers them to the merchant until they are acknowledged."""
