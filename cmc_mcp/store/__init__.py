"""The store: what a backend must do, and the embedded backend. The only package that imports a database driver."""
