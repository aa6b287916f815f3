"""Where clients are led, on every machine: written into the store by the manager that leads a
service, and followed by the proxy of each machine."""
