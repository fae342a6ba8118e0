"""Scoring models, their draft rules and their published versions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import Conflict, NotFound
from app.store.tables import ModelVersion, Rule, ScoringModel


async def get(session: AsyncSession, key: str) -> ScoringModel:
    """Raises NotFound."""
    found = (await session.exec(select(ScoringModel).where(ScoringModel.key == key))).first()
    if found is None:
        raise NotFound(f"there is no scoring model {key!r}")
    return found


async def add(session: AsyncSession, model: ScoringModel) -> None:
    """Raises Conflict if the key is taken."""
    session.add(model)
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(f"there is a scoring model {model.key!r} already", "/key") from None


async def page(session: AsyncSession, *, archived: bool, limit: int, after: str | None) -> Sequence[ScoringModel]:
    """Models in the order of their keys."""
    query = select(ScoringModel).order_by(ScoringModel.key).limit(limit)
    if not archived:
        query = query.where(col(ScoringModel.archived_at).is_(None))
    if after is not None:
        query = query.where(ScoringModel.key > after)
    return (await session.exec(query)).all()


async def rules(
    session: AsyncSession, model_id: int, *, limit: int = 1_000, after: UUID | None = None
) -> Sequence[Rule]:
    """A draft's rules, the oldest first."""
    query = select(Rule).where(Rule.model_id == model_id).order_by(col(Rule.id)).limit(limit)
    if after is not None:
        query = query.where(Rule.id > after)
    return (await session.exec(query)).all()


async def rules_of(session: AsyncSession, model_ids: Sequence[int]) -> dict[int, list[Rule]]:
    """The draft rules of several models, by the model's id."""
    found = await session.exec(select(Rule).where(col(Rule.model_id).in_(model_ids)).order_by(col(Rule.id)))
    grouped: dict[int, list[Rule]] = {}
    for one in found:
        grouped.setdefault(one.model_id, []).append(one)
    return grouped


async def rule(session: AsyncSession, rule_id: UUID) -> tuple[Rule, ScoringModel]:
    """A draft rule and its model. Raises NotFound."""
    query = select(Rule, ScoringModel).join(ScoringModel, col(ScoringModel.id) == Rule.model_id)
    found = (await session.exec(query.where(Rule.id == rule_id))).first()
    if found is None:
        raise NotFound("there is no such rule")
    return found[0], found[1]


async def history(
    session: AsyncSession, model: ScoringModel, *, limit: int, before: int | None
) -> Sequence[ModelVersion]:
    """A model's versions, the newest first."""
    query = select(ModelVersion).where(ModelVersion.model_id == model.id)
    if before is not None:
        query = query.where(ModelVersion.version < before)
    return (await session.exec(query.order_by(col(ModelVersion.version).desc()).limit(limit))).all()


async def versions(session: AsyncSession, models: Sequence[ScoringModel]) -> dict[int, ModelVersion]:
    """The live version of each model that has one, by the model's id."""
    live = {model.id: model.live_version for model in models if model.live_version is not None}
    query = select(ModelVersion).where(col(ModelVersion.model_id).in_(list(live)))
    found = (await session.exec(query)).all()
    return {version.model_id: version for version in found if live[version.model_id] == version.version}
