"""Stands in for SEEM's utilities."""
