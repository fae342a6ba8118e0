"""Everything an operator can set, read once from the environment in the roots and handed down."""

from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The README's table of settings lists each of these; a test compares the two."""

    model_config = SettingsConfigDict(env_prefix="LEADTALLY_", extra="ignore")

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres 15 or newer, as postgresql://user:password@host/name. Unset: an embedded Postgres.",
    )
    data_dir: Path = Field(default=Path(".data"), description="Folder of the embedded Postgres and of the key below.")
    encryption_key: SecretStr | None = Field(
        default=None,
        description="What seals credentials in the database: 32 bytes in base64url; older keys follow after commas. "
        "Unset: one is made and kept in the data folder, for a single machine.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$",
        description="How others reach this service, as https://leads.example.com. Unset: as each call says.",
    )
    admin_key: SecretStr | None = Field(
        default=None, min_length=1, description="The first admin key, long. Unset: one is made and shown once."
    )
    demo: bool = Field(default=True, description="Fill an empty database with a small demo workspace; 0 starts empty.")
    worker: bool = Field(default=True, description="Whether `serve` runs a worker inside; 0 where `worker` runs apart.")
    pool_size: int = Field(
        default=10, ge=4, le=200, description="Connections that each of a process' two pools may open."
    )
    ingest_lanes: int = Field(
        default=2, ge=1, le=32, description="Ingest transactions that one process runs at a time."
    )
    soft_bounce_limit: int = Field(
        default=5, ge=1, le=1000, description="Soft bounces with no delivery between that make an address bounced."
    )
    soft_bounce_days: int = Field(
        default=30, ge=1, le=3650, description="Days within which those soft bounces must lie."
    )
    inbox_limit: int = Field(
        default=100_000, ge=1, le=100_000_000, description="Calls of sources that may wait to be read, of 10 kB each."
    )
    raw_days: int = Field(
        default=7, ge=1, le=3650, description="Days for which the calls of sources are kept as they came."
    )
    private_crms: bool = Field(
        default=False,
        description="Whether CRMs may be at addresses of this machine and its network, by http: for the sandbox.",
    )
    settle_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="Seconds from publishing a model to scoring anew; what is published meanwhile takes its place.",
    )
    graphql_introspection: bool = Field(
        default=True, description="Whether GraphQL's schema may be asked for; 0 where clients need not know it."
    )
    graphql_operations: Path | None = Field(
        default=None,
        description="File of the only GraphQL operations that are executed: Apollo's persisted query manifest, or JSON "
        "of queries by their hashes. Unset: any.",
    )
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe level logged."
    )
    log_json: bool = Field(default=False, description="Log JSON lines instead of text.")

    @field_validator("encryption_key")
    @classmethod
    def _are_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        try:
            for key in [] if keys is None else keys.get_secret_value().split(","):
                Fernet(key.strip())
        except ValueError:
            raise ValueError("expected keys of 32 bytes in base64url, with commas between them") from None
        return keys

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgres://", "postgresql://")):
            raise ValueError("expected postgresql://user:password@host/name")
        return url
