"""Two contacts that are one person become one, and can be taken apart again, each as it would have been.

While they are one, each row remembers the contact that it came to first. Taking them apart gives each its rows back,
begins with what each was by itself, and says again of each what came in for it since.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from app.engine import contacts as engine
from app.engine import declared, hygiene, identity, ingest, joining, profiles, tally
from app.engine import plan as plans_
from app.engine.contacts import Change
from app.engine.fields import Vocabulary
from app.engine.hygiene import SoftPolicy
from app.engine.identity import EMAIL, Join, Ref, Tie
from app.engine.plan import Plans
from app.engine.scoring import Cause
from app.errors import Fault, InvalidInput, NotFound
from app.store import contacts
from app.store.db import Connection
from app.store.tables import Contact

_OVERLAP = timedelta(hours=1)
"""What came in before a merge may have been committed after it. What is said again that was known changes nothing."""


async def merge(
    db: Connection, plans: Plans, survivor: UUID, other: UUID, now: datetime, policy: SoftPolicy, *, by: str = "api"
) -> Contact:
    """Make `other` part of `survivor`, and remove it. Runs in the caller's transaction.

    `joining.join` says what the survivor becomes. The other's history of scores, and of what it was, goes with it.
    Raises NotFound, or InvalidInput if the two are the same.
    """
    if survivor == other:
        raise InvalidInput(Fault("/other", "expected another contact than this one"))
    plan = await plans.hold(db)
    try:
        await identity.lock(db, [survivor, other])
    except identity.ContactGone:
        raise NotFound("there is no such contact") from None
    stay = await joining.join(db, plan, [Join(other, survivor, Tie.MANUAL)], {Ref(): by}, now)
    await ingest.judge(db, stay, policy)
    await ingest.save(db, stay, now)
    await plan.scorer.score(db, [survivor], now, Cause.MERGE)
    return stay[0]


class Apart(NamedTuple):
    contact: Contact
    restored: Contact


async def unmerge(
    db: Connection, plans: Plans, contact: UUID, part: UUID, now: datetime, policy: SoftPolicy, *, by: str = "api"
) -> Apart:
    """Take `part`, with all that was merged into it before, out of `contact` again. Runs in the caller's transaction.

    Either is what it would have been: an event is of whose identity it named, a change by hand of whom it named. What
    nobody could tell apart goes to `contact`; but an opt-out by hand stays with both. No event joins the part to
    anybody again. Raises NotFound, or InvalidInput if it is no part.
    """
    # Alone: whoever resolves an identity just now must find it where it will be.
    await plans_.alone(db)
    plan = await plans.hold(db)
    await engine.lock_existing(db, contact)
    tree = _Tree(contact, await merges(db, contact))
    if part not in tree.parts[1:]:
        raise InvalidInput(Fault("/contact", "expected a contact that was merged into this one"))
    leaving = tree.below(part)
    people = await _by_themselves(db, tree, plan.contacts)
    await _give_back(db, contact, part, leaving)
    await _copy_opt_outs(db, contact, part)
    await db.execute(
        "UPDATE merge SET undone_at = $3, undone_by = $4 WHERE contact_id = $1 AND gone = $2 AND undone_at IS NULL",
        contact,
        part,
        now,
        by,
    )
    await _forget_single(db, [contact, part])
    kept, restored = (tree.whole(one, people, without=part) for one in (contact, part))
    await _end_overrides(db, [contact, part])
    await joining.note_mail(db, [contact, part], [contact, part])
    await tally.count_anew(db, plan.epoch, plan.counters, [contact, part])
    await ingest.judge(db, [kept, restored], policy)
    await ingest.save(db, [kept], now)
    restored.updated_at = now
    await contacts.insert(db, restored)
    await plan.scorer.score(db, sorted([contact, part]), now, Cause.MERGE)
    return Apart(kept, restored)


class Merged(NamedTuple):
    """One merge: `gone` became part of `survivor`, which may be part of another since."""

    survivor: UUID
    gone: UUID
    kind: str
    at: datetime
    by: str
    undone_at: datetime | None
    undone_by: str | None


async def merges(db: Connection, contact: UUID) -> list[Merged]:
    """All merges that made a contact what it is, those that were undone among them, the earliest first."""
    rows = await db.fetch(
        "SELECT survivor, gone, kind, at, by, undone_at, undone_by FROM merge WHERE contact_id = $1 ORDER BY id",
        contact,
    )
    return [Merged(*row) for row in rows]


async def taker(db: Connection, gone: UUID) -> UUID | None:
    """The contact that another is part of now; None if it is of none."""
    contact: UUID | None = await db.fetchval("SELECT contact_id FROM merge WHERE gone = $1 AND undone_at IS NULL", gone)
    return contact


class _Tree:
    """Who is part of whom in a merged contact, in the order of the merges."""

    def __init__(self, root: UUID, found: Sequence[Merged]) -> None:
        self.root = root
        self._merged = [(one.survivor, one.gone) for one in found if one.undone_at is None]
        self.parts = [root, *(gone for _, gone in self._merged)] if self._merged else []

    def below(self, part: UUID) -> list[UUID]:
        """The part and all that are part of it."""
        found = [part]
        for one in found:
            found += [gone for survivor, gone in self._merged if survivor == one]
        return found

    def whole(self, part: UUID, people: Mapping[UUID, Contact], without: UUID) -> Contact:
        """The part as it is with all that are part of it, one aside."""
        row = people[part]
        for survivor, gone in self._merged:
            if survivor == part and gone != without:
                joining.join_rows(row, self.whole(gone, people, without))
        return row


# --- what each was ----------------------------------------------------------------------------------------------------


class _Edit(NamedTuple):
    """A change by hand; `origin` None: of the merged contact, not of one of its parts."""

    at: datetime
    origin: UUID | None
    by: str
    address: str | None
    change: Change


class _Event(NamedTuple):
    at: datetime
    type: str
    source: str
    occurred_at: datetime
    properties: dict[str, Any]  # Any: JSON


class _Address(NamedTuple):
    at: datetime
    value: str


_Word: TypeAlias = _Address | _Event | _Edit
"""Something that was said of a part, and when it came in."""
_HEARD = [*hygiene.CONSENT, *profiles.TYPES]


async def _by_themselves(db: Connection, tree: _Tree, known: Vocabulary) -> dict[UUID, Contact]:
    """Each part as it would be had it never been merged. Their bounce states are still to be judged."""
    contact, parts = tree.root, tree.parts
    began, people = await _beginnings(db, contact)
    words: dict[UUID, list[_Word]] = {part: [] for part in parts}
    held: dict[UUID, set[str]] = {part: set() for part in parts}
    for part, at, address in await _addresses(db, contact):
        held[part].add(address)
        if at is not None and at >= began[part] - _OVERLAP:
            words[part].append(_Address(at, address))
    for part, event in await _events(db, contact):
        if event.at >= began[part] - _OVERLAP:
            words[part].append(event)
    for edit in await _edits(db, contact):
        whose = edit.origin or contact
        words[whose].append(edit)
        if alike := _of_all(edit):
            for part in tree.below(whose)[1:]:
                if edit.at >= began[part]:
                    words[part].append(alike)
    for part in parts:
        # An address is attached before what names it is heard.
        for word in sorted(words[part], key=lambda one: (one.at, not isinstance(one, _Address))):
            _say(people[part], word, held[part], known)
        people[part].properties |= _readable(people[part].properties, known)
    return people


def _of_all(edit: _Edit) -> _Edit | None:
    """What a change of a merged contact says of those that it is made of: an opt-out, and a bounce of their address."""
    said = {"bounced"} & edit.change.said | ({"opted_out"} if edit.change.opted_out else set())
    change = Change(frozenset(said), opted_out=edit.change.opted_out, bounced=edit.change.bounced)
    return edit._replace(origin=None, change=change) if said else None


def _say(person: Contact, word: _Word, held: Container[str], known: Vocabulary) -> None:
    if isinstance(word, _Address):
        if person.email is None and profiles.micros(word.at) > person.said_at.get("email", -1):
            person.email = word.value
    elif isinstance(word, _Event):
        at = min(word.occurred_at, word.at)
        if word.type in profiles.TYPES:
            profiles.apply(person, word.type, word.properties, at, known, held)
        else:
            reason = hygiene.CONSENT[word.type]
            hygiene.decide_consent(person, out=word.type != hygiene.RESUBSCRIBED, at=at, reason=reason, by=word.source)
    else:
        said = set(word.change.said)
        if word.change.email is not None and word.change.email not in held:
            said.discard("email")
        if word.origin is None and word.address != person.email:
            said.discard("bounced")
        engine.apply(person, replace(word.change, said=frozenset(said)), word.by, word.at)


def _readable(properties: dict[str, Any], known: Vocabulary) -> dict[str, Any]:  # Any: JSON
    """Those that can be read as their declared types, read: a type may have been declared since."""
    typed = declared.read_all(properties, known)
    return {name: value for name, value in typed.properties.items() if name not in typed.wrong}


async def _beginnings(db: Connection, contact: UUID) -> tuple[dict[UUID, datetime], dict[UUID, Contact]]:
    """When each part was merged first, and what it was then."""
    rows = await db.fetch(
        """
        SELECT since, said, (jsonb_populate_record(NULL::contact, said)).* FROM merge_part WHERE contact_id = $1
        """,
        contact,
    )
    began, people = {}, {}
    for since, said, *values in rows:
        columns = list(rows[0].keys())[2:]
        # A column that came since has its default.
        was = {name: value for name, value in zip(columns, values, strict=True) if name in said}
        began[was["id"]], people[was["id"]] = since, Contact(**was)
    return began, people


async def _addresses(db: Connection, contact: UUID) -> list[tuple[UUID, datetime | None, str]]:
    """Each address that points at the contact: whose it is, and since when."""
    rows = await db.fetch(
        """
        SELECT coalesce(origin, contact_id), since, value FROM identity WHERE contact_id = $1 AND kind = $2
        ORDER BY since, value
        """,
        contact,
        EMAIL,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def _events(db: Connection, contact: UUID) -> list[tuple[UUID, _Event]]:
    rows = await db.fetch(
        """
        SELECT coalesce(origin, contact_id), received_at, type, source, occurred_at, properties FROM event
        WHERE contact_id = $1 AND type = ANY($2) ORDER BY received_at, id
        """,
        contact,
        _HEARD,
    )
    return [(row[0], _Event(*tuple(row.values())[1:])) for row in rows]


async def _edits(db: Connection, contact: UUID) -> list[_Edit]:
    rows = await db.fetch(
        "SELECT at, origin, by, address, said FROM merge_edit WHERE contact_id = $1 ORDER BY id", contact
    )
    edits = []
    for row in rows:
        said = row["said"]
        change = Change(
            **{
                **said,
                "said": frozenset(said["said"]),
                "tags": tuple(said["tags"]),
                "add_tags": tuple(said["add_tags"]),
            }
        )
        edits.append(_Edit(row["at"], row["origin"], row["by"], row["address"], change))
    return edits


# --- whose is what ----------------------------------------------------------------------------------------------------


async def _give_back(db: Connection, contact: UUID, part: UUID, leaving: Sequence[UUID]) -> None:
    """Move what came to `leaving`, the part and those below it, to the part, which has a row in `activity` again."""
    await db.execute("INSERT INTO activity (contact_id) VALUES ($1)", part)
    for table in ("identity", "event", "adjustment", "merge_edit"):
        await db.execute(
            f"""
            UPDATE {table} SET contact_id = $2, origin = nullif(origin, $2)
            WHERE contact_id = $1 AND origin = ANY($3)
            """,
            contact,
            part,
            leaving,
        )
    await db.execute(
        "UPDATE merge_part SET contact_id = $2 WHERE contact_id = $1 AND origin = ANY($3)", contact, part, leaving
    )
    await db.execute(
        "UPDATE merge SET contact_id = $2 WHERE contact_id = $1 AND survivor = ANY($3)", contact, part, leaving
    )
    await db.execute(
        """
        UPDATE activity a SET last_event_at = coalesce(
            (SELECT max(least(occurred_at, received_at)) FROM event WHERE contact_id = a.contact_id), '-infinity'
        ) WHERE a.contact_id = ANY($1)
        """,
        [contact, part],
    )


async def _copy_opt_outs(db: Connection, contact: UUID, part: UUID) -> None:
    """What was opted out by hand as one stays so, should the part be taken apart further."""
    await db.execute(
        """
        INSERT INTO merge_edit (contact_id, id, at, by, address, said)
        SELECT $2, gen_random_uuid(), at, by, address, said || '{"said": ["opted_out"]}' FROM merge_edit
        WHERE contact_id = $1 AND origin IS NULL AND said -> 'said' ? 'opted_out' AND said -> 'opted_out' = 'true'
        """,
        contact,
        part,
    )


async def _forget_single(db: Connection, people: Sequence[UUID]) -> None:
    """Of those that are made of nobody else any more, what was kept to take them apart."""
    for table in ("merge_edit", "merge_part"):
        await db.execute(
            f"""
            DELETE FROM {table} WHERE contact_id = ANY($1) AND NOT EXISTS (
                SELECT FROM merge m WHERE m.contact_id = {table}.contact_id AND m.undone_at IS NULL
            )
            """,
            people,
        )


async def _end_overrides(db: Connection, people: Sequence[UUID]) -> None:
    """Let each override end as it would have, had there been no other contact's."""
    await db.execute(
        """
        UPDATE adjustment SET revoked_at = nullif(own_revoked_at, 'infinity'), revoked_by = own_revoked_by,
               own_revoked_at = NULL, own_revoked_by = NULL
        WHERE contact_id = ANY($1) AND own_revoked_at IS NOT NULL
        """,
        people,
    )
    # Those that ended because another one was made while the two were one.
    await db.execute(
        """
        UPDATE adjustment a SET revoked_at = NULL, revoked_by = NULL FROM adjustment b
        WHERE a.contact_id = ANY($1) AND b.contact_id = ANY($1) AND a.contact_id <> b.contact_id
          AND a.kind = 'override' AND b.kind = 'override' AND a.model_id = b.model_id AND a.revoked_at = b.created_at
        """,
        people,
    )
    await joining.end_overrides(db, people)
