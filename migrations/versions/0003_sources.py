"""Sources of events, what came in from them, and secrets of our own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "own_secret",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("verify", sa.Boolean, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("secrets", postgresql.ARRAY(sa.LargeBinary), nullable=False, server_default="{}"),
        sa.Column("key_hint", sa.Text),
        sa.Column("key_digest", sa.LargeBinary, unique=True),
        sa.Column("old_key_digest", sa.LargeBinary, unique=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("received", "accepted", "duplicates", "rejected", "refused")
        ),
        sa.Column("refused_at", INSTANT),
        sa.Column("refused_because", sa.Text),
        sa.Column("last_seen_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("source_id", sa.Uuid, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("headers", postgresql.JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("read_at", INSTANT),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default="0")
            for name in ("accepted", "duplicates", "rejected")
        ),
        sa.Column("faults", postgresql.JSONB, nullable=False, server_default="[]"),
    )
    op.create_index("delivery_source", "delivery", ["source_id", "id"])
    op.create_index("delivery_unread", "delivery", ["id"], postgresql_where=sa.text("read_at IS NULL"))
    # Every row leaves the index of the unread soon after it came: what it left behind must not pile up there.
    op.execute("ALTER TABLE delivery SET (autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    op.drop_table("delivery")
    op.drop_table("source")
    op.drop_table("own_secret")
