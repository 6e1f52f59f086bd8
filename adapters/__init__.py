"""Adapters to frameworks: one file each, an extra each, opened alike (`_opening`).

They import only the facade, the models and the errors.
"""
