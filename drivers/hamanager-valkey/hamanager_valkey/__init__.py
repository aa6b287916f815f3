"""Valkey, as a driver package of its own (docs/writing-a-driver.md)."""
