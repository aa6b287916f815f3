"""Services without data."""
