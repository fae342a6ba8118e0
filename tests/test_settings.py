import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings

README = Path(__file__).parent.parent / "README.md"


def environment_names() -> set[str]:
    """What an operator can set, by its name in the environment."""
    prefix = Settings.model_config.get("env_prefix", "")
    return {"DATABASE_URL" if name == "database_url" else f"{prefix}{name}".upper() for name in Settings.model_fields}


def test_the_readme_lists_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| *`([A-Z][A-Z0-9_]+)` *\|", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(environment_names()) == sorted(rows)


def test_the_readme_says_each_default() -> None:
    rows = dict(
        re.findall(r"^\| *`([A-Z][A-Z0-9_]+)` *\| *`?([^|`]*?)`? *\|", README.read_text(encoding="utf-8"), re.MULTILINE)
    )
    for name, field in Settings.model_fields.items():
        if field.default is not None and not isinstance(field.default, bool):
            assert str(field.default) == rows[f"LEADTALLY_{name.upper()}"]


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEADTALLY_PORT", "web"),
        ("LEADTALLY_PORT", "65536"),
        ("LEADTALLY_ADMIN_KEY", ""),
        ("LEADTALLY_WORKER", "perhaps"),
        ("LEADTALLY_POOL_SIZE", "1"),
        ("LEADTALLY_LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://root@localhost/x"),
        ("DATABASE_URL", "x"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError):
        Settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADTALLY_ADMIN_KEY", "swordfish-swordfish")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:swordfish@db/leadtally")

    assert "swordfish" not in repr(Settings())
