"""How the product reaches Postgres: three pools to one database.

`hot` is plain asyncpg, for the paths that move batches. `engine` is SQLAlchemy's, for queries built from Core
expressions. `answers` is plain asyncpg, for single statements that read by an index and answer a request as they are.
A transaction uses one of them, never both.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeAlias

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.expression import ClauseElement
from sqlmodel.ext.asyncio.session import AsyncSession

from app.store.standing import Standing

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

Execute: TypeAlias = Callable[..., Awaitable[int]]
"""Runs a statement with its values in a transaction; returns how many rows it touched."""
on_commit: ContextVar[Callable[[Execute], Awaitable[None]] | None] = ContextVar("on_commit", default=None)
"""What whoever opens transactions in this context adds to each as its last statement."""

_DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so

# A prepared plan outlives the table sizes it was made for. On the hot path every access is by key, so a sequential
# scan is never right: with it off, a plan made on an empty table is still good on a table of millions.
# The compiler for expressions costs more than a batch; naive timestamps in stored text mean UTC.
_HOT_SETTINGS = {
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "timezone": "UTC",
    "statement_timeout": "300s",
}
# A plan kept for any value knows not how many contacts a range of scores or a flag leaves: a page that takes 30 ms with
# a plan of its own took 240 ms from the sixth time on, at 200,000 contacts.
_READ_SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "timezone": "UTC",
    "statement_timeout": "30s",
}
# One statement each, which an index bounds whatever its values are: so a plan is made once.
_ANSWER_SETTINGS = {**_HOT_SETTINGS, "max_parallel_workers_per_gather": "0", "statement_timeout": "30s"}
_ANSWERS_PREPARED = 200
"""Statements that each connection keeps."""


class Database:
    """The pools. Use as an async context manager; opening raises what asyncpg raises when there is no server."""

    def __init__(self, url: str, pool_size: int = 10, *, name: str = "leadtally") -> None:
        self.url = make_url(url)
        self._pool_size = pool_size
        self._name = name
        self.hot: asyncpg.Pool[asyncpg.Record]
        self.answers: Standing
        self.engine: AsyncEngine

    async def __aenter__(self) -> Self:
        self.hot = await asyncpg.create_pool(
            plain_url(self.url),
            min_size=1,
            max_size=self._pool_size,
            init=_as_json,
            server_settings={**_HOT_SETTINGS, "application_name": self._name},
        )
        self.answers = Standing(self._answering, self._pool_size)
        self.engine = create_async_engine(
            self.url.set(drivername="postgresql+asyncpg"),
            pool_size=self._pool_size,
            max_overflow=0,
            hide_parameters=True,  # they hold people's addresses, and errors are logged
            pool_pre_ping=False,
            connect_args={"server_settings": {**_READ_SETTINGS, "application_name": self._name}},
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.dispose()
        await self.answers.close()
        await self.hot.close()

    async def _answering(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            plain_url(self.url),
            statement_cache_size=_ANSWERS_PREPARED,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings={**_ANSWER_SETTINGS, "application_name": self._name},
        )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose transaction ends with the block; nothing written in it is kept."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def planning(self) -> AsyncIterator[Connection]:
        """A connection of the driver's, without a transaction, for one statement that is planned for its values."""
        async with self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            yield driver

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session over table objects; it commits when the block ends without an exception."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session
            if (note := on_commit.get()) is not None:
                connection = await session.connection()

                async def by_driver(statement: str, *values: object) -> int:
                    return (await connection.exec_driver_sql(statement, values)).rowcount

                await note(by_driver)

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        """A transaction on the hot pool that commits when the block ends without an exception."""
        async with self.hot.acquire() as connection, connection.transaction():
            yield connection
            if (note := on_commit.get()) is not None:

                async def by_hand(statement: str, *values: object) -> int:
                    return int((await connection.execute(statement, *values)).rpartition(" ")[2])

                await note(by_hand)


# An InternalClientError is what asyncpg raises when the server ends a connection between two statements.
FAULTS = (OSError, PoolTimeout, DBAPIError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)
"""Everything that reaching the database may raise."""


REFUSALS = (
    asyncpg.InvalidCatalogNameError,  # no such database
    asyncpg.InvalidAuthorizationSpecificationError,  # no such role, a wrong password
    asyncpg.InsufficientPrivilegeError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
)
"""A server that is there and does not let us in."""


def is_away(fault: BaseException) -> bool:
    """Whether the database could not be reached, or was lost on the way: the same may go well if tried again."""
    if isinstance(fault, DBAPIError):
        is_lost = fault.connection_invalidated
    else:
        is_lost = isinstance(fault, OSError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError)
    # connection_exception; a server that shuts down, crashed or starts up; too_many_connections
    return is_lost or sqlstate(fault).startswith(("08", "57P", "53300"))


def sqlstate(fault: BaseException) -> str:
    """The code that Postgres gave, or nothing."""
    return getattr(fault.orig if isinstance(fault, DBAPIError) else fault, "sqlstate", None) or ""


def plain_url(url: URL) -> str:
    """The URL without SQLAlchemy's driver name, as asyncpg and psql take it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


class Statement:
    """A Core statement compiled once for asyncpg: its text, and its arguments in the order of its placeholders."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.sql = str(compiled)
        self._names: list[str] = list(getattr(compiled, "positiontup", None) or [])
        self._fixed: dict[str, Any] = dict(compiled.params)  # Any: values of any column type

    def arguments(self, **given: object) -> list[Any]:
        """Values by position: those built into the statement, and those left open under their names."""
        return [given[name] if name in given else self._fixed[name] for name in self._names]


async def _as_json(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=orjson.loads,
    )
