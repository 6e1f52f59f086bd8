"""Objects: large bytes under their hash, kept per workspace beside the store."""
