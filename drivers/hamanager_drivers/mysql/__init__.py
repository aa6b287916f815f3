"""MySQL 8.0.23 and later."""
