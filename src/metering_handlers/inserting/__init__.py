"""Inserts: adding up a request's entries, dividing them into transactions, and writing each exactly once."""
