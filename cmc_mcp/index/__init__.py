"""Indexes in memory over a workspace: its vectors, sections and words. They answer as the stored rows do."""
