"""Which contact an identity and an event came to first, and when each word about a contact was said."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
