"""All that a model can say: richer rules, measures, segments, adjustments; the past of scores and of contacts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.statements import script

revision = "0002"
down_revision = "0001"

SAY_IT_AS_JSON = """
UPDATE rule SET said = jsonb_build_object(
    'id', id::text, 'name', name, 'kind', kind, 'condition', condition, 'points', points::text,
    'window_days', window_days, 'max_per_day', max_per_day, 'max_points', max_points::text
);
ALTER TABLE rule ALTER said SET NOT NULL;
-- What older versions counted from is not known to the minute; their publishing is the nearest that is.
UPDATE model_version SET live_from = published_at;
"""

SAY_IT_IN_COLUMNS = """
UPDATE rule SET name = said ->> 'name', kind = CASE said ->> 'kind' WHEN 'event' THEN 'event' ELSE 'profile' END,
    condition = coalesce(nullif(said -> 'condition', 'null'), '{}'), points = (said ->> 'points')::numeric(14, 2),
    window_days = CASE jsonb_typeof(said -> 'window_days') WHEN 'number' THEN (said ->> 'window_days')::int END,
    max_per_day = (said ->> 'max_per_day')::int, max_points = (said ->> 'max_points')::numeric(14, 2);
ALTER TABLE rule ALTER name SET NOT NULL, ALTER kind SET NOT NULL, ALTER condition SET NOT NULL,
    ALTER points SET NOT NULL;
"""

COUNT_BY_EPOCH = """
-- A fill used to set what ingest had added meanwhile; from now on it adds what is older than the counter.
DELETE FROM tally WHERE counter_id IN (SELECT id FROM counter WHERE NOT filled);
UPDATE plan_epoch SET epoch = epoch + 1;
UPDATE counter SET since = epoch FROM plan_epoch WHERE NOT filled;
"""

KEEP_PAST = """
CREATE FUNCTION keep_contact_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO contact_past (contact_id, until, said)
    SELECT was.id, becomes.updated_at, to_jsonb(was) FROM was JOIN becomes USING (id)
    WHERE to_jsonb(was) - 'updated_at' <> to_jsonb(becomes) - 'updated_at';
    RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_contact_past IS 'What a contact was until now, so that a rule can be asked as of then.';

CREATE TRIGGER keep_contact_past AFTER UPDATE ON contact REFERENCING OLD TABLE AS was NEW TABLE AS becomes
FOR EACH STATEMENT EXECUTE FUNCTION keep_contact_past();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")  # fail fast rather than queue everyone behind us
    op.create_table(
        "adjustment",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("points", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("from_day", sa.Date(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("contact_id", "id"),
    )
    op.create_table(
        "contact_past",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("said", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", "id"),
    )
    op.create_table(
        "measure",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("aggregate", sa.Text(), nullable=False),
        sa.Column("of", sa.Text(), nullable=True),
        sa.Column("window_days", sa.Integer(), nullable=True),
        sa.Column("counter_id", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "preview_score",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("was", sa.Numeric(), nullable=True),
        sa.Column("becomes", sa.Numeric(), nullable=True),
        sa.Column("moved", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "contact_id"),
        prefixes=["UNLOGGED"],
    )
    op.create_index("preview_score_moved", "preview_score", ["job_id", "moved", "contact_id"], unique=False)
    op.create_table(
        "property",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "score_change",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("was", sa.Numeric(), nullable=True),
        sa.Column("value", sa.Numeric(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", "model_id", "id"),
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.add_column("counter", sa.Column("keyed_by", sa.Text(), nullable=True))
    op.add_column("counter", sa.Column("keyed_as", sa.Text(), nullable=True))
    op.create_index("job_preview", "job", ["id"], unique=False, postgresql_where=sa.text("kind = 'model.preview'"))
    op.create_table(
        "staged_tally",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("counter_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", "counter_id", "day", "key"),
    )
    op.add_column("event", sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("counter", sa.Column("since", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("counter", sa.Column("staged", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.drop_constraint("counter_digest_key", "counter")
    op.create_index(
        "counter_digest", "counter", ["digest"], unique=True, postgresql_where=sa.text("retired_by IS NULL")
    )
    script(COUNT_BY_EPOCH)
    op.add_column("job", sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("job", sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "model_version", sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column(
        "model_version", sa.Column("side_effects", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.add_column("model_version", sa.Column("live_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column("rule", sa.Column("said", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    script(SAY_IT_AS_JSON)
    op.drop_column("rule", "condition")
    op.drop_column("rule", "name")
    op.drop_column("rule", "max_per_day")
    op.drop_column("rule", "window_days")
    op.drop_column("rule", "kind")
    op.drop_column("rule", "max_points")
    op.drop_column("rule", "points")
    op.add_column("score", sa.Column("computed", sa.Numeric(), nullable=True))
    op.alter_column("score", "value", existing_type=sa.NUMERIC(), nullable=True)
    script(KEEP_PAST)
    op.add_column(
        "scoring_model", sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("scoring_model", "spec")
    op.execute("DELETE FROM score WHERE value IS NULL")
    op.alter_column("score", "value", existing_type=sa.NUMERIC(), nullable=False)
    op.drop_column("score", "computed")
    op.add_column("rule", sa.Column("points", sa.NUMERIC(precision=14, scale=2), nullable=True))
    op.add_column("rule", sa.Column("max_points", sa.NUMERIC(precision=14, scale=2), nullable=True))
    op.add_column("rule", sa.Column("kind", sa.TEXT(), nullable=True))
    op.add_column("rule", sa.Column("window_days", sa.INTEGER(), nullable=True))
    op.add_column("rule", sa.Column("max_per_day", sa.INTEGER(), nullable=True))
    op.add_column("rule", sa.Column("name", sa.TEXT(), nullable=True))
    op.add_column("rule", sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    script(SAY_IT_IN_COLUMNS)
    op.drop_column("rule", "said")
    op.drop_column("model_version", "live_from")
    op.drop_column("model_version", "side_effects")
    op.drop_column("model_version", "spec")
    op.drop_index("job_preview", table_name="job")
    op.execute("DELETE FROM counter WHERE retired_by IS NOT NULL")
    op.drop_index("counter_digest", table_name="counter")
    op.create_unique_constraint("counter_digest_key", "counter", ["digest"])
    op.drop_column("counter", "staged")
    op.drop_column("counter", "since")
    op.drop_column("event", "epoch")
    op.drop_table("staged_tally")
    op.drop_column("job", "starts_at")
    op.drop_column("job", "result")
    op.drop_column("counter", "keyed_as")
    op.drop_column("counter", "keyed_by")
    op.drop_table("segment")
    op.drop_table("score_change")
    op.drop_table("property")
    op.drop_index("preview_score_moved", table_name="preview_score")
    op.drop_table("preview_score")
    op.drop_table("measure")
    op.drop_table("contact_past")
    op.drop_table("adjustment")
    script("DROP TRIGGER keep_contact_past ON contact; DROP FUNCTION keep_contact_past")
