"""Which contact an identity and an event came to first, and when each word about a contact was said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.statements import script

revision = "0004"
down_revision = "0003"

INSTANT = sa.DateTime(timezone=True)

FOLD_EMAIL = """
CREATE FUNCTION fold_email(email text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN
    CASE
        WHEN email ~ '^[^"@+]+(\\+[^"@]*)?@(gmail|googlemail)\\.com$'
        THEN replace(split_part(split_part(email, '@', 1), '+', 1), '.', '') || '@gmail.com'
        WHEN email ~ '^[^"@+]+\\+[^"@]*@[^@]+$'
        THEN split_part(email, '+', 1) || '@' || split_part(email, '@', 2)
        ELSE email
    END;
COMMENT ON FUNCTION fold_email IS 'An address without its +tag; for Gmail, which ignores them, without dots, too.';
"""

# When something was said is no part of what the contact was.
KEEP_PAST = """
CREATE OR REPLACE FUNCTION keep_contact_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO contact_past (contact_id, until, said)
    SELECT was.id, becomes.updated_at, to_jsonb(was){aside} FROM was JOIN becomes USING (id)
    WHERE to_jsonb(was) - 'updated_at'{aside} <> to_jsonb(becomes) - 'updated_at'{aside};
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")  # fail fast rather than queue everyone behind us
    op.create_table(
        "merge",
        sa.Column("contact_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("survivor", sa.Uuid, nullable=False),
        sa.Column("gone", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("undone_at", INSTANT),
        sa.Column("undone_by", sa.Text),
    )
    op.create_index("ix_merge_gone", "merge", ["gone"])
    op.create_table(
        "merge_part",
        sa.Column("contact_id", sa.Uuid, primary_key=True),
        sa.Column("origin", sa.Uuid, primary_key=True),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("said", postgresql.JSONB, nullable=False),
    )
    op.create_table(
        "merge_edit",
        sa.Column("contact_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("origin", sa.Uuid),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("said", postgresql.JSONB, nullable=False),
    )
    op.add_column("identity", sa.Column("origin", sa.Uuid))
    op.add_column("identity", sa.Column("since", INSTANT))
    op.add_column("event", sa.Column("origin", sa.Uuid))
    op.add_column("activity", sa.Column("recounted", sa.BigInteger, server_default="0", nullable=False))
    op.add_column("adjustment", sa.Column("origin", sa.Uuid))
    op.add_column("adjustment", sa.Column("own_revoked_at", INSTANT))
    op.add_column("adjustment", sa.Column("own_revoked_by", sa.Text))
    op.add_column("contact", sa.Column("said_at", postgresql.JSONB, server_default="{}", nullable=False))
    script(KEEP_PAST.format(aside=" - 'said_at'"))
    script(FOLD_EMAIL)
    op.create_index(
        "contact_folded",
        "contact",
        [sa.literal_column("fold_email(email)"), "id"],
        postgresql_where=sa.text("email <> fold_email(email)"),
    )
    op.create_index("event_email_changed", "event", ["id"], postgresql_where=sa.text("type = 'contact.email_changed'"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("event_email_changed", table_name="event")
    op.drop_index("contact_folded", table_name="contact")
    script("DROP FUNCTION fold_email")
    script(KEEP_PAST.format(aside=""))
    op.drop_column("contact", "said_at")
    op.drop_column("adjustment", "own_revoked_by")
    op.drop_column("adjustment", "own_revoked_at")
    op.drop_column("adjustment", "origin")
    op.drop_column("activity", "recounted")
    op.drop_column("event", "origin")
    op.drop_column("identity", "since")
    op.drop_column("identity", "origin")
    op.drop_table("merge_edit")
    op.drop_table("merge_part")
    op.drop_table("merge")
