"""The contracts between the manager's core and the outside: small, typed Protocols."""
