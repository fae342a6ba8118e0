"""Changes can be followed: in the order in which they were made, by whoever waits for them."""

import sqlalchemy as sa
from alembic import op

from migrations.statements import script

revision = "0010"
down_revision = "0009"

# While nobody waits this costs a look at an empty table. While somebody does, commits that tell them come one after
# the other, for that is how Postgres keeps notifications in order; so readers that are awake do not wait here.
WAKE = """
CREATE FUNCTION wake_readers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM waiting_reader WHERE until > clock_timestamp()) THEN
        PERFORM pg_notify('leadtally_live', '');
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION wake_readers IS 'Tells whoever waits that there may be something to read.';

CREATE TRIGGER wake_readers AFTER INSERT ON score_change FOR EACH STATEMENT EXECUTE FUNCTION wake_readers();
CREATE TRIGGER wake_readers AFTER INSERT ON contact_past FOR EACH STATEMENT EXECUTE FUNCTION wake_readers();
CREATE TRIGGER wake_readers AFTER INSERT OR UPDATE OR DELETE ON job
FOR EACH STATEMENT EXECUTE FUNCTION wake_readers();
"""

UNWAKE = """
DROP TRIGGER wake_readers ON job;
DROP TRIGGER wake_readers ON contact_past;
DROP TRIGGER wake_readers ON score_change;
DROP FUNCTION wake_readers;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")  # fail fast rather than queue everyone behind us
    op.create_table(
        "waiting_reader",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_index("score_change_id", "score_change", ["id"])
    op.create_index("contact_past_id", "contact_past", ["id"])
    script(WAKE)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    script(UNWAKE)
    op.drop_index("contact_past_id", "contact_past")
    op.drop_index("score_change_id", "score_change")
    op.drop_table("waiting_reader")
