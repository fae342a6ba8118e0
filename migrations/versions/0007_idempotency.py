"""What was answered to calls that carry an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "idempotent_call",
        sa.Column("caller", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_effect", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("status", sa.SmallInteger),
        sa.Column("headers", postgresql.JSONB),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("idempotent_call_began", "idempotent_call", ["began_at"])


def downgrade() -> None:
    op.drop_table("idempotent_call")
