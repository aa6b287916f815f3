"""The rules, by subject; their order is in `hamanager.decide`."""
