"""What is said of a contact: its name, address, tags and properties. The later word wins, whenever it arrives.

Pure. `Contact.said_at` keeps when each word was said, in microseconds since 1970:
`{"name": n, "stage": n, "email": n, "tags": {tag in lower case: n}, "properties": {name: n}}`. A word without an
instant is older than any. What was removed keeps its instant, so that an older word that comes late does not bring it
back; of those the latest `_MOST_REMOVED` of a kind are kept. A caller who changes a contact by hand says it now.
"""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from app.engine import declared, hygiene
from app.engine.conditions import is_clean
from app.engine.fields import Vocabulary
from app.engine.identity import Ref, normal_email
from app.engine.properties import to_text
from app.store.tables import Contact

UPDATED, EMAIL_CHANGED, ALIASED = "contact.updated", "contact.email_changed", "contact.aliased"
TAG_ADDED, TAG_REMOVED = "contact.tag_added", "contact.tag_removed"
TYPES = {UPDATED, EMAIL_CHANGED, TAG_ADDED, TAG_REMOVED}
"""Events that change the contact they are about."""
NAMING = {UPDATED, EMAIL_CHANGED, ALIASED}
"""Events that may name the contact in their properties, too."""

MOST_TAGS = 200
_MOST_REMOVED = 200
_LONGEST = 200
_NAMES, _FIRST, _LAST, _EMAIL = {"name"}, {"firstname"}, {"lastname"}, {"email"}
_RESERVED = _NAMES | _FIRST | _LAST | _EMAIL
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

Json = Any  # Any: whatever JSON can say


class Effect(NamedTuple):
    """What became of a contact: whether anything of it is otherwise now, its address among that."""

    is_changed: bool
    is_moved: bool


def whole_ref(ref: Ref, type_: str, properties: Mapping[str, Json]) -> Ref:
    """Who an event of `NAMING` is about, by its properties as well. What they say wrongly is left out."""
    if type_ == ALIASED:
        previous = _text(properties.get("previous_id"))
        return ref if previous is None else ref._replace(previous_id=previous)
    if type_ == UPDATED:
        said = _email(_by_name(_traits(properties), _EMAIL))
        return ref if said is None else _beside(ref, said)
    old, new = _email(properties.get("old_email")), _email(properties.get("new_email"))
    if old is not None and ref.email in (None, new):
        ref = ref._replace(email=old)
    return ref if new is None else _beside(ref, new)


def _beside(ref: Ref, email: str) -> Ref:
    if ref.email is None:
        return ref._replace(email=email)
    return ref if ref.email == email else ref._replace(new_email=email)


def apply(
    contact: Contact, type_: str, properties: Mapping[str, Json], at: datetime, known: Vocabulary, held: Container[str]
) -> Effect:
    """Let an event of `TYPES` that happened at `at` be heard.

    `held` are addresses that are the contact's: of others it takes none. A property that cannot be read as its declared
    type is left out, and all of them where together they would be more than a contact may have.
    """
    moment = micros(at)
    if type_ in (TAG_ADDED, TAG_REMOVED):
        tag = _text(properties.get("tag"))
        is_changed = tag is not None and _say_tag(contact, tag, moment, is_there=type_ == TAG_ADDED)
        return Effect(is_changed, is_moved=False)
    if type_ == EMAIL_CHANGED:
        is_moved = _say_email(contact, _email(properties.get("new_email")), at, held)
        return Effect(is_moved, is_moved)
    traits = _traits(properties)
    is_moved = _say_email(contact, _email(_by_name(traits, _EMAIL)), at, held)
    is_renamed = _say_name(contact, _name(traits), moment)
    others = {name: value for name, value in traits.items() if _folded(name) not in _RESERVED}
    is_changed = _say_properties(contact, declared.read_all(others, known), moment)
    return Effect(is_moved or is_renamed or is_changed, is_moved)


def say_now(contact: Contact, words: Iterable[str], at: datetime) -> None:
    """Note that these words about a contact, `properties.<name>` and `tags.<tag>` among them, were said at `at`."""
    said, moment = _said(contact), micros(at)
    for word in words:
        kind, dot, name = word.partition(".")
        if dot:
            said[kind][name] = moment
        else:
            said[kind] = moment
    _keep(contact, said)


def micros(at: datetime) -> int:
    return (at - _BEGINNING) // timedelta(microseconds=1)


def instant(moment: int) -> datetime:
    return _BEGINNING + timedelta(microseconds=moment)


# --- one word ---------------------------------------------------------------------------------------------------------


def _say_email(contact: Contact, email: str | None, at: datetime, held: Container[str]) -> bool:
    if email is None or email not in held:
        return False
    said, moment = _said(contact), micros(at)
    known = said.get("email")
    if email == contact.email:
        said["email"] = moment if known is None else max(moment, known)
        _keep(contact, said)
        return False
    if known is not None and (moment, email) < (known, contact.email or ""):
        return False
    hygiene.change_address(contact, email, at)
    said["email"] = moment
    _keep(contact, said)
    return True


def _say_name(contact: Contact, name: str | None, moment: int) -> bool:
    said = _said(contact)
    if name is None or not _is_later(said.get("name"), moment, name, contact.name):
        return False
    is_changed = contact.name != name
    contact.name, said["name"] = name, moment
    _keep(contact, said)
    return is_changed


def _say_tag(contact: Contact, tag: str, moment: int, *, is_there: bool) -> bool:
    said, folded = _said(contact), tag.lower()
    was_there = folded in {one.lower() for one in contact.tags}
    # Of two words at one instant the removal holds.
    known = said["tags"].get(folded)
    if known is not None and (moment, not is_there) < (known, not was_there):
        return False
    if is_there and not was_there and len(contact.tags) >= MOST_TAGS:
        return False
    said["tags"][folded] = moment
    if is_there and not was_there:
        contact.tags = [*contact.tags, tag]
    elif not is_there:
        contact.tags = [one for one in contact.tags if one.lower() != folded]
    _keep(contact, said)
    return was_there != is_there


def _say_properties(contact: Contact, read: "declared.Typed", moment: int) -> bool:
    said = _said(contact)
    becomes = dict(contact.properties)
    for name, value in read.properties.items():
        if name in read.wrong or not _is_later(said["properties"].get(name), moment, value, becomes.get(name)):
            continue
        said["properties"][name] = moment
        if value is None:
            becomes.pop(name, None)
        else:
            becomes[name] = value
    try:
        to_text(becomes)
    except ValueError:
        return False
    is_changed = becomes != contact.properties
    contact.properties = becomes
    _keep(contact, said)
    return is_changed


def _is_later(known: int | None, moment: int, value: Json, other: Json) -> bool:
    """Whether a word counts over what was said at `known`; of two at one instant that whose text is greater."""
    return known is None or (moment, orjson.dumps(value)) >= (known, orjson.dumps(other))


# --- two contacts that are one ----------------------------------------------------------------------------------------


def join(kept: Contact, gone: Contact) -> None:
    """Let a contact have the words of another: of each the later, `kept`'s where nobody knows; tags are joined."""
    mine, others = _said(kept), _said(gone)
    for word in ("name", "stage"):
        if _yields(mine.get(word), others.get(word), is_there=getattr(kept, word) is not None):
            setattr(kept, word, getattr(gone, word))
            _take(mine, others, word)
    _join_properties(kept, gone, mine["properties"], others["properties"])
    _join_tags(kept, gone, mine["tags"], others["tags"])
    _keep(kept, mine)


def _join_properties(kept: Contact, gone: Contact, mine: dict[str, int], others: dict[str, int]) -> None:
    becomes = dict(kept.properties)
    for name in {**gone.properties, **others}:
        if name not in mine and name not in others and name in becomes:
            becomes |= merged({name: gone.properties[name]}, {name: becomes[name]})
        elif _yields(mine.get(name), others.get(name), is_there=name in becomes):
            becomes.pop(name, None)
            if name in gone.properties:
                becomes[name] = gone.properties[name]
            _take(mine, others, name)
    kept.properties = becomes


def _join_tags(kept: Contact, gone: Contact, mine: dict[str, int], others: dict[str, int]) -> None:
    here, there = ({tag.lower(): tag for tag in one.tags} for one in (kept, gone))
    becomes = dict(here)
    for folded in {**there, **others}:
        if _yields(mine.get(folded), others.get(folded), is_there=folded in becomes):
            becomes.pop(folded, None)
            if folded in there:
                becomes[folded] = there[folded]
            _take(mine, others, folded)
    kept.tags = list(becomes.values())


def _yields(mine: int | None, other: int | None, *, is_there: bool) -> bool:
    """Whether a word of one contact gives way to the other's, by when each was said."""
    if mine is None and other is None:
        return not is_there
    return other is not None and (mine is None or other > mine)


def _take(mine: dict[str, Any], others: dict[str, Any], word: str) -> None:  # Any: instants, and dicts of them
    if word in others:
        mine[word] = others[word]


def distinct(tags: Iterable[str]) -> list[str]:
    """Tags without repetition, by the first spelling of each: case means nothing in a tag."""
    kept: dict[str, str] = {}
    for tag in tags:
        kept.setdefault(tag.lower(), tag)
    return list(kept.values())


def merged(old: dict[str, Json], new: dict[str, Json]) -> dict[str, Json]:
    """JSON Merge Patch of two objects (RFC 7396)."""
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


# --- when it was said -------------------------------------------------------------------------------------------------


def _said(contact: Contact) -> dict[str, Any]:  # Any: instants, and dicts of them
    """A copy to change, with a place for the instants of tags and properties."""
    said = contact.said_at
    return {**said, "tags": dict(said.get("tags", {})), "properties": dict(said.get("properties", {}))}


def _keep(contact: Contact, said: dict[str, Any]) -> None:  # Any: as above
    for kind in ("tags", "properties"):
        if len(said[kind]) > _MOST_REMOVED:
            present = {tag.lower() for tag in contact.tags} if kind == "tags" else contact.properties.keys()
            removed = sorted((at, name) for name, at in said[kind].items() if name not in present)
            for _, name in removed[:-_MOST_REMOVED]:
                del said[kind][name]
    contact.said_at = {word: at for word, at in said.items() if at != {}}


# --- what an event says -----------------------------------------------------------------------------------------------


def _traits(properties: Mapping[str, Json]) -> dict[str, Json]:
    traits = properties.get("traits")
    return traits if isinstance(traits, dict) else {}


def _folded(name: str) -> str:
    return name.lower().replace("_", "")


def _by_name(traits: Mapping[str, Json], names: set[str]) -> Json:
    return next((value for name, value in traits.items() if _folded(name) in names and value is not None), None)


def _name(traits: Mapping[str, Json]) -> str | None:
    whole = _text(_by_name(traits, _NAMES))
    if whole is not None:
        return whole
    parts = [_text(_by_name(traits, names)) for names in (_FIRST, _LAST)]
    return _text(" ".join(part for part in parts if part is not None))


def _text(said: Json) -> str | None:
    """A line of text as a contact may hold it; a whole number is one, too, as identifiers often are."""
    if isinstance(said, int) and not isinstance(said, bool):
        said = str(said)
    if not isinstance(said, str) or not is_clean(said):
        return None
    said = said.strip()
    return said if 0 < len(said) <= _LONGEST else None


def _email(said: Json) -> str | None:
    try:
        return normal_email(said) if isinstance(said, str) and is_clean(said) else None
    except ValueError:
        return None
