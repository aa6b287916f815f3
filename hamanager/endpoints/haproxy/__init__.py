"""The endpoint contract on HAProxy."""
