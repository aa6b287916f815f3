"""The words of the manager as plain, frozen values: no I/O, no clock, no engine names."""
