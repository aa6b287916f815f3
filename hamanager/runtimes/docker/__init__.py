"""The runtime contract on a Docker engine."""
