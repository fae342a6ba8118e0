"""REST: shapes and status codes, no decisions."""
