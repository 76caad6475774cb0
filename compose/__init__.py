"""Configuration of nginx, Postgres and Kafka, shared by the runtimes."""
