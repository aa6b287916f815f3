"""Doing what was decided: a playbook's steps under the service's lease."""
