"""Drills: failures injected on purpose into a running service, and what came of them."""
