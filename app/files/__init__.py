"""Models as files: a YAML document says what a model's draft says, for people to review and for `models apply`."""
