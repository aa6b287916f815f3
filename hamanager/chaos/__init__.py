"""Failures on purpose: the demo, the drill, and what they and the tests share."""
