"""Leadtally: lead scoring and email hygiene on Postgres."""
