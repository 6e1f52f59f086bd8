"""Adapters to frameworks: one file each, an extra each; they import only the facade, the models and the errors."""
