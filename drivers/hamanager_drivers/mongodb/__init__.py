"""MongoDB: a replica set that elects its primary; the manager forms it, watches and helps it."""
