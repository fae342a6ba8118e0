"""Postgres: tables, pools, the embedded server, credentials, keyset pages, each table's queries."""
