"""Suppression by hand, by domain and beyond erasure; what each kind of word on consent said last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "suppression",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "value", "reason"),
    )
    op.add_column(
        "contact", sa.Column("email_quality", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column("contact", sa.Column("consent", postgresql.JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("contact", "consent")
    op.drop_column("contact", "email_quality")
    op.drop_table("suppression")
