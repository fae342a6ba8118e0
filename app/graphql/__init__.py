"""The read API: contacts, scores and what they are made of, by GraphQL."""
