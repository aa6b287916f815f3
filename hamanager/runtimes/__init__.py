"""Places where instances live."""
