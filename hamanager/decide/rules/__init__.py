"""The rules of the decision table, by what they are about."""
