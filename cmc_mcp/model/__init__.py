"""Frozen values: what the layers hand each other."""
