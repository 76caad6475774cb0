"""The pipeline: four services and what they share."""
