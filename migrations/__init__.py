"""Alembic's scripts. `leadtally migrate` runs them; `serve` and `worker` run them when they start."""
