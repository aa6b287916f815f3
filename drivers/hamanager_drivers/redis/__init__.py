"""Redis (and Valkey): asynchronous replication, promoted by the manager."""
