"""hamanager: high availability for MySQL, Redis and MongoDB."""
