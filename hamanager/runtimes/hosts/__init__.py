"""The runtime contract for several hosts."""
