"""Rows in SQL: what every backend that speaks it reads and writes in the same words."""
