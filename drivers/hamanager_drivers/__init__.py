"""Drivers for real engines, one package each; none knows another."""
