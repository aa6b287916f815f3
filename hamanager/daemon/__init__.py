"""The process that manages: `hamanager serve`."""
