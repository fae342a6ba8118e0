"""Who must not be mailed, and why not: contacts with a flag, and a list that outlives them.

Every reason ends in its own way. A contact's flags end by the rules of hygiene; an entry of the list ends when somebody
removes it; an opt-out or a complaint in the list ends by the person's own opt-in, too. An erased contact leaves a keyed
hash of each of its addresses, and whoever comes back with one of them starts as blocked as they were.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import structlog

from app import quality
from app.engine import hygiene
from app.engine.conditions import is_clean
from app.engine.identity import normal_email
from app.errors import Conflict, NotFound
from app.quality import Quality
from app.store import contacts, suppressions
from app.store.db import Connection
from app.store.suppressions import Entry, Flagged
from app.store.tables import Contact
from app.store.vault import Sealed, Vault

MAX_ADDRESSES = 10_000
"""Of one check, and of one addition."""

_KEY = "suppression"
_log = structlog.get_logger()


class Kind(StrEnum):
    ADDRESS = "address"
    DOMAIN = "domain"
    """With all domains below it."""
    HASH = "hash"


class Reason(StrEnum):
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    HARD_BOUNCE = "hard_bounce"
    SOFT_LIMIT = "soft_limit"
    MANUAL = "manual"
    DOMAIN = "domain"
    IMPORT = "import"


_CONSENT = {Reason.COMPLAINT: hygiene.COMPLAINT, Reason.OPT_OUT: hygiene.OUT}
"""What the person said, and the flag's reason for it."""
_BOUNCES = {Reason.HARD_BOUNCE, Reason.SOFT_LIMIT}


class Why(NamedTuple):
    reason: str
    """One of Reason, or `invalid`."""
    since: datetime | None = None
    by: str | None = None


class Answer(NamedTuple):
    """Whether an address may be mailed: it may unless there is a reason."""

    reasons: list[Why]
    quality: list[Quality]


# --- asked before sending ---------------------------------------------------------------------------------------------


async def check(db: Connection, vault: Vault, addresses: Sequence[object]) -> list[Answer]:
    """Who of these may be mailed, in their order. What is no address must not.

    Raises Conflict if the vault's keys do not open the list's secret.
    """
    normal = [_normal(one) for one in addresses]
    known = dict.fromkeys(one for one in normal if one is not None)
    found: dict[str, list[Why]] = {one: [] for one in known}
    by_hash = {hashed: one for one, hashed in (await _hashes(db, vault, known)).items()}
    by_domain: dict[str, list[str]] = {}
    for one in known:
        for domain in quality.domains(one.rpartition("@")[2]):
            by_domain.setdefault(domain, []).append(one)
    for entry in await _entries(db, {Kind.ADDRESS: known, Kind.HASH: by_hash, Kind.DOMAIN: by_domain}):
        match Kind(entry.kind):
            case Kind.ADDRESS:
                owners = [entry.value]
            case Kind.HASH:
                owners = [by_hash[entry.value]]
            case Kind.DOMAIN:
                owners = by_domain[entry.value]
        for one in owners:
            found[one].append(Why(entry.reason, entry.at, entry.by))
    flagged = await suppressions.flagged(db, list(known))
    for row in flagged:
        found[row.address] += _flags(row)
    left = [(row.contact_id, row.address) for row in flagged if not row.is_present]
    if left:
        for address, (at, by) in (await suppressions.bounces_of_left(db, left)).items():
            found[address].append(Why(Reason.HARD_BOUNCE, at, by))
    invalid = Answer([Why("invalid")], [])
    answers = {one: Answer(sorted(whys, key=_rank), quality.of(one)) for one, whys in found.items()}
    return [invalid if one is None else answers[one] for one in normal]


def _normal(address: object) -> str | None:
    try:
        return normal_email(address) if isinstance(address, str) and is_clean(address) else None
    except ValueError:
        return None


def _flags(row: Flagged) -> list[Why]:
    found = []
    if row.opted_out:
        reason = Reason.COMPLAINT if row.opted_out_reason == hygiene.COMPLAINT else Reason.OPT_OUT
        found.append(Why(reason, row.opted_out_at, row.opted_out_by))
    if row.bounced and row.is_present:
        found.append(Why(Reason.SOFT_LIMIT if row.is_soft else Reason.HARD_BOUNCE, row.bounced_at, row.bounced_by))
    return found


_ORDER = {str(reason): place for place, reason in enumerate(Reason)}


def _rank(why: Why) -> tuple[int, str]:
    return _ORDER[why.reason], str(why.since)


# --- the list of one's own --------------------------------------------------------------------------------------------


def normal_domain(domain: str) -> str:
    """A domain as it is stored and compared. Raises ValueError with a sentence that says what is wrong."""
    return normal_email("postmaster@" + domain.strip().removeprefix("@")).rpartition("@")[2]


async def remove(db: Connection, vault: Vault, kind: Kind, value: str, reason: Reason | None) -> None:
    """Remove an entry, for one reason or for all; of an address also the hash that it left.

    Raises NotFound; Conflict, with how the suppression ends, if none of it is for anybody to remove.
    """
    entries = await (_of_addresses(db, vault, [value]) if kind is Kind.ADDRESS else _entries(db, {kind: [value]}))
    found = [one for one in entries if reason in (None, one.reason)]
    removable = [one for one in found if one.reason != Reason.COMPLAINT]
    await suppressions.remove(db, removable)
    if removable:
        return
    if found:
        raise Conflict(hygiene.COMPLAINT_STANDS)
    flags = [why for row in await suppressions.flagged(db, [value]) for why in _flags(row)]
    if any(reason in (None, why.reason) for why in flags):
        raise Conflict(
            "this is a flag of the contact with this address: an opt-out ends by 'email.resubscribed', a bounce by "
            "another address, and either by changing the contact (PATCH /v1/contacts/{id})"
        )
    raise NotFound("the list has no such entry")


async def opt_out(db: Connection, vault: Vault, address: str, at: datetime, by: str) -> None:
    """Keep the opt-out of an address that is nobody's, by its hash alone."""
    [hashed] = _hashed(await _own_key(db, vault), [address]).values()
    await suppressions.add(db, [Entry(Kind.HASH, hashed, Reason.OPT_OUT, at, by)])


async def has_opted_out(db: Connection, vault: Vault, address: str) -> bool:
    """Whether the list keeps an opt-out or a complaint of this address."""
    return any(one.reason in _CONSENT for one in await _of_addresses(db, vault, [address]))


async def opt_in(db: Connection, vault: Vault | None, opt_ins: Mapping[str, datetime]) -> None:
    """End what the list keeps of opt-outs and complaints of these addresses before the person's own opt-in."""
    if vault is None:
        return
    hashes = await _hashes(db, vault, opt_ins)
    owners = {**{address: address for address in opt_ins}, **{hashed: address for address, hashed in hashes.items()}}
    found = await _of_addresses(db, vault, opt_ins)
    await suppressions.remove(
        db, [one for one in found if one.reason in _CONSENT and one.at < opt_ins[owners[one.value]]]
    )


async def _of_addresses(db: Connection, vault: Vault, addresses: Iterable[str]) -> list[Entry]:
    """The entries of these addresses, and of their hashes."""
    wanted = list(addresses)
    hashes = await _hashes(db, vault, wanted)
    return await _entries(db, {Kind.ADDRESS: wanted, Kind.HASH: hashes.values()})


async def _entries(db: Connection, wanted: Mapping[Kind, Iterable[str]]) -> list[Entry]:
    """The entries of these values of each kind."""
    return await suppressions.find(db, [(kind.value, one) for kind, values in wanted.items() for one in values])


# --- beyond erasure ---------------------------------------------------------------------------------------------------


async def leave_hash(db: Connection, vault: Vault | None, contact: UUID) -> None:
    """Keep why a contact that is about to be erased must not be mailed. The transaction holds its lock.

    Its opt-out is kept for every address of it, its bounce for the one in use; what the list says of its addresses in
    plain words becomes what it says of their hashes. Raises Conflict if the vault's keys do not open the secret.
    """
    if vault is None:
        return
    person = (await contacts.load(db, [contact]))[contact]
    rows = await db.fetch("SELECT value FROM identity WHERE contact_id = $1 AND kind = 'email'", contact)
    addresses = [row["value"] for row in rows]
    plain = await _entries(db, {Kind.ADDRESS: addresses})
    flags = {
        (address, why.reason): Entry(Kind.HASH, address, why.reason, why.since or person.updated_at, why.by or "")
        for address in addresses
        for why in _flags(_as_flagged(person, address))
    }
    plain_hashed = [one._replace(kind=Kind.HASH, note=None) for one in plain]
    if not flags and not plain:
        return
    hashes = _hashed(await _own_key(db, vault), addresses)
    kept = [one._replace(value=hashes[one.value]) for one in (*flags.values(), *plain_hashed)]
    await suppressions.add(db, kept)
    await suppressions.remove(db, plain)


def _as_flagged(person: Contact, address: str) -> Flagged:
    return Flagged(
        address,
        person.id,
        person.email == address,
        person.opted_out,
        person.opted_out_at,
        person.opted_out_reason,
        person.opted_out_by,
        person.bounced,
        person.bounced_at,
        person.bounced_by,
        person.bounce_status == "soft",
    )


async def returned(db: Connection, vault: Vault | None, addresses: Iterable[str]) -> dict[str, list[Entry]]:
    """What erased contacts left of these addresses that somebody has now. One lookup where nobody ever left any.

    A secret that the vault does not open keeps nobody from coming in: that is logged.
    """
    if vault is None:
        return {}
    try:
        hashes = await _hashes(db, vault, addresses)
    except Conflict:
        _log.error("the suppression list's secret does not open: who was erased may come back unblocked")
        return {}
    owners = {hashed: address for address, hashed in hashes.items()}
    found: dict[str, list[Entry]] = {}
    for one in await _entries(db, {Kind.HASH: owners}) if owners else []:
        if one.reason in _CONSENT or one.reason in _BOUNCES:
            found.setdefault(owners[one.value], []).append(one)
    return found


async def revive(
    db: Connection, people: Mapping[UUID, Contact], owners: Mapping[str, UUID], left: Mapping[str, Sequence[Entry]]
) -> None:
    """Raise the flags that erased contacts with these addresses had, and let the list forget them: they are the
    contacts' again. A bounce is raised where the address is the one in use. The transaction holds their locks."""
    raised = []
    for address, entries in left.items():
        contact = people[owners[address]]
        for one in entries:
            reason = Reason(one.reason)
            if reason in _CONSENT:
                hygiene.decide_consent(contact, out=True, at=one.at, reason=_CONSENT[reason], by=one.by)
            elif contact.email == address and not contact.bounced:
                hygiene.revive_bounce(contact, hard=reason is Reason.HARD_BOUNCE, at=one.at, by=one.by)
            else:
                continue
            raised.append(one)
    await suppressions.remove(db, raised)


async def _hashes(db: Connection, vault: Vault, addresses: Iterable[str]) -> dict[str, str]:
    """The hash of each address; of none while there is no secret, for then nobody has left a hash."""
    sealed = await db.fetchval("SELECT sealed FROM own_secret WHERE name = $1", _KEY)
    if sealed is None:
        return {}
    try:
        return _hashed(vault.open(sealed), addresses)
    except Sealed as fault:
        raise Conflict(f"the suppression list's secret is {fault}") from None


async def _own_key(db: Connection, vault: Vault) -> bytes:
    try:
        return await vault.own(db, _KEY)
    except Sealed as fault:
        raise Conflict(f"the suppression list's secret is {fault}") from None


def _hashed(key: bytes, addresses: Iterable[str]) -> dict[str, str]:
    return {one: hmac.digest(key, one.encode(), "sha256").hex() for one in addresses}
