"""What every service relies on; it knows none of them."""
