"""The first schema: contacts, events, tallies, scores, models, jobs, keys, and PgQueuer's own tables."""

import sqlalchemy as sa
from alembic import op
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from sqlalchemy.dialects import postgresql

from migrations.statements import script

revision = "0001"
down_revision = None

FUNCTIONS = """
CREATE FUNCTION fold_tags(tags text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(array_agg(lower(tag)), '{}') FROM unnest(tags) AS tag);
COMMENT ON FUNCTION fold_tags IS 'Tags in lower case: what membership is asked of, and indexed.';

CREATE FUNCTION as_instant(said text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
    IF said !~ '^\\d{4}-\\d\\d-\\d\\d([Tt ]\\d\\d:\\d\\d(:\\d\\d([.,]\\d{1,9})?)?\\s?([Zz]|[+-]\\d\\d(:?\\d\\d)?)?)?$' THEN
        RETURN NULL;
    END IF;
    IF said ~ '([Zz]|:\\d\\d(\\.\\d+)?\\s?[+-]\\d\\d(:?\\d\\d)?)$' THEN
        RETURN said::timestamptz;
    END IF;
    RETURN said::timestamp AT TIME ZONE 'UTC';
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION as_instant IS 'An RFC 3339 instant or a date (UTC where no zone is said); NULL for anything else.';
"""


HOLD = """
CREATE FUNCTION hold_plan() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7300002);
    RETURN (SELECT epoch FROM plan_epoch);
END $$;
COMMENT ON FUNCTION hold_plan IS 'Keeps what counts from changing until the transaction ends, and says its epoch: in
one round trip, and yet with a snapshot younger than the lock, which one plain statement could not have.';
"""

STATISTICS = """
-- From version 18 on Postgres may serve "the row of this contact" from an index whose first column is another, by
-- skipping through that column's values. While the statistics know few of them (nobody has an event yet, all scores
-- are nought) that looks as cheap as the primary key, and soon costs twenty times as much. It is told better.
ALTER TABLE activity ALTER COLUMN last_event_at SET (n_distinct = -0.5);
ALTER TABLE score ALTER COLUMN value SET (n_distinct = -0.5);
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")  # fail fast rather than queue everyone behind us
    script(FUNCTIONS)
    op.create_table(
        "activity",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("last_event_at", sa.DateTime(timezone=True), server_default=sa.text("'-infinity'"), nullable=False),
        sa.PrimaryKeyConstraint("contact_id"),
    )
    op.create_index("activity_last_event", "activity", ["last_event_at", "contact_id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("name", name="api_key_name"),
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("opted_out", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("opted_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opted_out_reason", sa.Text(), nullable=True),
        sa.Column("opted_out_by", sa.Text(), nullable=True),
        sa.Column("bounced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounced_reason", sa.Text(), nullable=True),
        sa.Column("bounced_by", sa.Text(), nullable=True),
        sa.Column("bounce_status", sa.Text(), server_default="none", nullable=False),
        sa.Column("soft_bounces", sa.Integer(), server_default="0", nullable=False),
        sa.Column("email_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounces_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("contact_created", "contact", ["created_at", "id"], unique=False)
    op.create_index("contact_email", "contact", ["email"], unique=False, postgresql_ops={"email": "text_pattern_ops"})
    op.create_index("contact_stage", "contact", [sa.literal_column("lower(stage)")], unique=False)
    op.create_index(
        "contact_soft_bounces", "contact", ["id"], unique=False, postgresql_where=sa.text("soft_bounces > 0")
    )
    op.create_index(
        "contact_suppressed", "contact", ["id"], unique=False, postgresql_where=sa.text("opted_out OR bounced")
    )
    op.create_index(
        "contact_tags", "contact", [sa.literal_column("fold_tags(tags)")], unique=False, postgresql_using="gin"
    )
    op.create_table(
        "counter",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("filled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("retired_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("event_contact", "event", ["contact_id", "occurred_at", "id"], unique=False)
    op.create_index("event_occurred", "event", ["occurred_at", "id"], unique=False)
    op.create_index("event_source", "event", ["source", "occurred_at", "id"], unique=False)
    op.create_index("event_type", "event", ["type", "occurred_at", "id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("job_created", "job", ["created_at", "id"], unique=False)
    op.create_table(
        "plan_epoch",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "score",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("next_change_on", sa.Date(), nullable=True),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", "model_id"),
    )
    op.create_index(
        "score_due",
        "score",
        ["next_change_on", "contact_id"],
        unique=False,
        postgresql_where=sa.text("next_change_on IS NOT NULL"),
    )
    op.create_index("score_value", "score", ["model_id", "value", "contact_id"], unique=False)
    op.create_table(
        "scoring_model",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("bands", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("live_version", sa.Integer(), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "tally",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("counter_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", "counter_id", "day", "key"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "identity",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], ondelete="CASCADE", initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("kind", "value"),
    )
    op.create_index("ix_identity_contact_id", "identity", ["contact_id"], unique=False)
    op.create_table(
        "model_version",
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bands", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["scoring_model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "version"),
    )
    op.create_table(
        "rule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("points", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=True),
        sa.Column("max_per_day", sa.Integer(), nullable=True),
        sa.Column("max_points", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["scoring_model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rule_model_id", "rule", ["model_id"], unique=False)
    op.execute("INSERT INTO plan_epoch (id, epoch) VALUES (1, 1)")
    script(HOLD)
    script(STATISTICS)
    script(QueryBuilderEnvironment().build_install_query())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("ix_rule_model_id", table_name="rule")
    op.drop_table("rule")
    op.drop_table("model_version")
    op.drop_index("ix_identity_contact_id", table_name="identity")
    op.drop_table("identity")
    op.drop_table("worker")
    op.drop_table("tally")
    op.drop_table("scoring_model")
    op.drop_index("score_value", table_name="score")
    op.drop_index("score_due", table_name="score", postgresql_where=sa.text("next_change_on IS NOT NULL"))
    op.drop_table("score")
    op.drop_table("plan_epoch")
    op.drop_index("job_created", table_name="job")
    op.drop_table("job")
    op.drop_index("event_type", table_name="event")
    op.drop_index("event_source", table_name="event")
    op.drop_index("event_occurred", table_name="event")
    op.drop_index("event_contact", table_name="event")
    op.drop_table("event")
    op.drop_table("counter")
    op.drop_index("contact_tags", table_name="contact", postgresql_using="gin")
    op.drop_index("contact_suppressed", table_name="contact", postgresql_where=sa.text("opted_out OR bounced"))
    op.drop_index("contact_soft_bounces", table_name="contact", postgresql_where=sa.text("soft_bounces > 0"))
    op.drop_index("contact_stage", table_name="contact")
    op.drop_index("contact_email", table_name="contact", postgresql_ops={"email": "text_pattern_ops"})
    op.drop_index("contact_created", table_name="contact")
    op.drop_table("contact")
    op.drop_table("api_key")
    op.drop_index("activity_last_event", table_name="activity")
    op.drop_table("activity")
    script("DROP FUNCTION fold_tags; DROP FUNCTION as_instant; DROP FUNCTION hold_plan")
    script(QueryBuilderEnvironment().build_uninstall_query())
