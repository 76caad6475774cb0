"""Where every transaction is now, gathered from the members."""
