"""Where clients connect to."""
