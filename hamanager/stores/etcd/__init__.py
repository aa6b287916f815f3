"""The store contract on etcd, for several managers."""
