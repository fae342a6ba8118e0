"""What the scripts share."""

from alembic import op
from sqlalchemy.util import await_only


def script(statements: str) -> None:
    """Several statements at once, which the prepared statements of SQLAlchemy's asyncpg dialect cannot take."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    await_only(connection.execute(statements))
