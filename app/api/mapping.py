"""What is mapped between a connection's CRM and us, and the fields that can be."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app import clock
from app.api.guard import Reader, Writer
from app.api.json import JsonResponse
from app.api.services import Kit
from app.api.shapes import Line, Shape
from app.connectors.shapes import Kind
from app.errors import Fault, InvalidInput
from app.sync import connections, setting_up
from app.sync.mapping import Pair, Policy, Way, default_policy
from app.sync.setting_up import MAX_PAIRS

router = APIRouter(prefix="/v1/connections/{connection_id}", tags=["Connections"])

_WORDS = "Of a flag that is a choice there: the first is written; empty: as the CRM's own options say"
_DESCRIBED = "As the CRM describes it; not to be chosen, so that what was read can be sent back"
_EXAMPLE = [
    {"object": "Contact", "here": "email", "there": "Email", "way": "in"},
    {"object": "Contact", "here": "opted_out", "there": "HasOptedOutOfEmail", "way": "both"},
    {"object": "Contact", "here": "properties.industry", "there": "Industry__c", "way": "both", "policy": "there"},
    {"object": "Contact", "here": "score.engagement", "there": "Score__c", "way": "out"},
]


class PairIn(Shape):
    object: Line = Field(description="As the CRM calls it", examples=["Contact"])
    here: Line = Field(
        description="`email`, `name`, `stage`, `tags`, `opted_out`, `bounced`, `bounced_at`, `bounced_reason`, "
        "`bounce_status`, `score.<model>`, `band.<model>` or `properties.<name>`",
        examples=["opted_out"],
    )
    there: Line = Field(description="The field's name in the CRM", examples=["HasOptedOutOfEmail"])
    way: Way = Field(description="`in`: from the CRM to us; `out`; `both`", examples=["both"])
    policy: Policy | None = Field(
        default=None,
        description="Who is right if it moved on both sides: `restrictive` (for flags: whoever says that the contact "
        "may not be mailed), `here`, `there`, `newest`. Null: flags restrictive, the address there, scores here, and "
        "of anything else the newest",
    )
    places: int | None = Field(
        default=None, ge=0, le=10, description="Digits after the decimal point; null: as the CRM keeps, a score whole"
    )
    yes: Annotated[list[Line], Field(max_length=20)] = Field(default=[], description=_WORDS)
    no: Annotated[list[Line], Field(max_length=20)] = Field(default=[], description=_WORDS)
    kind: Kind | None = Field(default=None, description=_DESCRIBED)
    max_length: int | None = Field(default=None, description=_DESCRIBED)

    def pair(self) -> Pair:
        policy = self.policy or default_policy(self.here)
        words = tuple(self.yes), tuple(self.no)
        return Pair(self.object, self.here, self.there, self.way, policy, Kind.OTHER, self.places, None, *words)


class MappingIn(Shape):
    pairs: Annotated[list[PairIn], Field(max_length=MAX_PAIRS)] = Field(examples=[_EXAMPLE])


class PairOut(BaseModel):
    object: str = Field(examples=["Contact"])
    here: str = Field(examples=["opted_out"])
    there: str = Field(examples=["HasOptedOutOfEmail"])
    way: Way
    policy: Policy
    kind: Kind = Field(description="Of the field there")
    places: int | None
    max_length: int | None
    yes: list[str]
    no: list[str]


class MappingOut(BaseModel):
    pairs: list[PairOut]


class FieldOut(BaseModel):
    name: str = Field(description="By which it is mapped", examples=["HasOptedOutOfEmail"])
    label: str = Field(examples=["Email Opt Out"])
    kind: Kind
    is_writable: bool = Field(description="Whether our user may write it")
    is_custom: bool
    options: list[str] = Field(description="Of a choice")
    max_length: int | None
    places: int | None


class FieldsOut(BaseModel):
    object: str = Field(examples=["Contact"])
    objects: list[str] = Field(description="All that hold people", examples=[["Lead", "Contact"]])
    fields: list[FieldOut] = Field(description="Those that our user sees")


@router.get("/mapping", response_model=MappingOut, summary="Read what is mapped")
async def get_mapping(connection_id: UUID, kit: Kit, _: Reader) -> JsonResponse:
    async with kit.database.hot.acquire() as db:
        found = await connections.get(db, connection_id)
    return JsonResponse(_shown(found.options.pairs))


@router.put(
    "/mapping",
    response_model=MappingOut,
    summary="Say what is mapped",
    description="All of it. Each pair is held against what the CRM describes, and all that is wrong is said at once. "
    "Everybody is compared afterwards, and what was held back in fields that changed is tried again.",
)
async def put_mapping(connection_id: UUID, given: MappingIn, kit: Kit, _: Writer) -> JsonResponse:
    async with kit.opened(connection_id) as opened:
        opened.budget.is_urgent = True  # somebody waits
        kept = await setting_up.save(opened, [one.pair() for one in given.pairs], clock.now())
    return JsonResponse(_shown(kept))


@router.get("/fields", response_model=FieldsOut, summary="List the CRM's fields, as it describes them to our user")
async def list_fields(
    connection_id: UUID,
    kit: Kit,
    _: Reader,
    object_: Annotated[Line | None, Query(alias="object", description="One of `objects`; the first, if none")] = None,
) -> JsonResponse:
    async with kit.opened(connection_id) as opened:
        objects = list(opened.connector.objects)
        if object_ is not None and object_ not in objects:
            raise InvalidInput(Fault("/object", f"there is no object {object_!r}; there is {', '.join(objects)}"))
        asked = object_ or objects[0]
        found = await opened.connector.describe(asked)
    return JsonResponse({"object": asked, "objects": objects, "fields": [one._asdict() for one in found]})


def _shown(pairs: tuple[Pair, ...]) -> dict[str, Any]:  # Any: JSON
    return {"pairs": [one.to_json() for one in pairs]}
