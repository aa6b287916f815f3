"""`hamanager drill`: rounds of failures in a service that allows them, and their report."""
