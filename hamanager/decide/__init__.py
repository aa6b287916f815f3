"""What is to be done about what was seen: pure functions of values."""
