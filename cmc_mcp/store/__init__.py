"""The store: what a backend must do, and the backends: SQLite and PostgreSQL, objects in files or a bucket.

The only package that imports a database driver.
"""
