"""What a score means: fields, conditions, compile, plan, tally, scoring, hygiene, identity, ingest, publish."""
