"""The embedded backend: one SQLite file, through apsw, with sqlite-vec and FTS5."""
