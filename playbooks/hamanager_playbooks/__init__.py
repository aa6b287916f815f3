"""What is done about each decision: short lists of idempotent, named steps."""
