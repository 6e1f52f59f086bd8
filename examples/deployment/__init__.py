"""Two servers on one PostgreSQL and one bucket: `python -m examples.deployment` in a checkout runs it; README.md says more."""
