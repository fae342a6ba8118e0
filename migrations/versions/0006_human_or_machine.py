"""Whether a human did it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("event", sa.Column("human", sa.Boolean))
    op.add_column("event", sa.Column("human_by", sa.Text))
    op.create_table("remark", sa.Column("contact_id", sa.Uuid, primary_key=True))
    op.create_table(
        "marking",
        sa.Column("id", sa.SmallInteger, primary_key=True),
        sa.Column("edition", sa.Integer, nullable=False),
    )
    # Edition 0 marked nothing: whatever is stored is marked when a worker next starts.
    op.execute("INSERT INTO marking (id, edition) VALUES (1, 0)")


def downgrade() -> None:
    op.drop_table("marking")
    op.drop_table("remark")
    op.drop_column("event", "human_by")
    op.drop_column("event", "human")
