"""Whose identities and events are whose, once contacts were merged."""
