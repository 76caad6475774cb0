"""What runs: one interface, one implementation per runtime."""
