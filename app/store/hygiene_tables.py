"""Suppression beyond the contacts' own flags."""
