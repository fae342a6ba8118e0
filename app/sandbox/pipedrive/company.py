"""One company's account: its tables, what is indexed, who may sign in. No rule of the API is here."""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import count
from uuid import UUID

from app.sandbox import shapes
from app.sandbox.orders import Order
from app.sandbox.pipedrive.faults import Faults
from app.sandbox.pipedrive.records import (
    Activity,
    Consent,
    Entry,
    Event,
    Field,
    Hook,
    Kind,
    Lead,
    Person,
    Point,
    User,
)
from app.sandbox.pipedrive.wire import Json

COMPANY_ID = 22_122
_KEPT_ENTRIES = 50
"""Of a person's change log."""
_PURGED_AFTER_S = 30 * 86_400
_FILLED_BEFORE_S = 30 * 86_400
_IMPORTED_A_SECOND = 50
_KINDS = [("Call", "call"), ("Meeting", "meeting"), ("Task", "task"), ("Deadline", "deadline"), ("E-mail", "email"),
          ("Lunch", "lunch")]  # fmt: skip


class Company:
    """The tables are open to the modules that write them; what an index needs goes through the methods."""

    def __init__(self, clock: shapes.Clock, name: str = "acme-sales") -> None:
        self.clock = clock
        self.name = name
        self.faults = Faults()
        self.users = {
            7: User(7, "Jane Doe", "jane.doe@example.com", is_admin=True),
            9: User(9, "Integration", "integration@example.com", is_admin=True),
        }
        self.orgs: dict[int, str] = {}
        self.org_made_at = self.now()
        self._org_ids: dict[str, int] = {}
        self.persons: dict[int, Person] = {}
        self.merged_into: dict[int, int] = {}
        self.activities: dict[int, Activity] = {}
        self.kinds: dict[int, Kind] = {}
        self.leads: dict[str, Lead] = {}
        self.leads_by_number: dict[int, Lead] = {}
        self.conversions: dict[str, Json] = {}
        self.fields: defaultdict[str, dict[str, Field]] = defaultdict(dict)
        """Of a kind of record, by code."""
        self.filters: dict[int, Json] = {}
        self.hooks: dict[int, Hook] = {}
        self.consents: dict[str, Consent] = {}
        self.entries: dict[int, list[Entry]] = {}
        self.activities_of: defaultdict[int, list[int]] = defaultdict(list)
        self.calls: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.listener: Callable[[Event], None] = lambda _: None
        self._deleted: deque[tuple[int, dict[int, Person] | dict[int, Activity], int]] = deque()
        self._addresses: dict[str, list[int]] = {}
        self._ids: defaultdict[str, count[int]] = defaultdict(lambda: count(1))
        self.person_orders: dict[str, Order[int, Person]] = {
            "id": Order(self.persons, lambda person: person.id),
            "update_time": Order(self.persons, lambda person: person.updated),
            "add_time": Order(self.persons, lambda person: person.added),
        }
        self.activity_orders: dict[str, Order[int, Activity]] = {
            "id": Order(self.activities, lambda activity: activity.id),
            "update_time": Order(self.activities, lambda activity: activity.updated),
            "add_time": Order(self.activities, lambda activity: activity.added),
            "due_date": Order(self.activities, lambda activity: activity.due_date or ""),
        }
        self.lead_order: Order[int, Lead] = Order(self.leads_by_number, lambda lead: lead.updated_ms)
        for label, key in _KINDS:
            number = self.next_id("kind")
            self.kinds[number] = Kind(number, label, key, key, False, self.now(), self.now())

    def millis(self) -> int:
        """Now, as Unix time in milliseconds."""
        return int(self.clock().timestamp() * 1_000)

    def now(self) -> int:
        """Now, as Unix time in whole seconds: the precision of persons and activities."""
        return self.millis() // 1_000

    def next_id(self, table: str) -> int:
        return next(self._ids[table])

    def secret(self, what: str) -> str:
        """40 hexadecimal digits, the same for the same company and purpose, as another than it cannot tell."""
        return hashlib.sha256(f"{self.name}:{what}".encode()).hexdigest()[:40]

    def uuid(self, what: str) -> str:
        return str(UUID(self.secret(what)[:32], version=4))

    # --- Organizations and persons ------------------------------------------------------------------------------------

    def org(self, name: str) -> int:
        """The organization of this name, made if there is none."""
        if name not in self._org_ids:
            number = self.next_id("org")
            self._org_ids[name], self.orgs[number] = number, name
        return self._org_ids[name]

    def person(self, number: int) -> Person | None:
        """None if it is deleted, too."""
        person = self.persons.get(number)
        return None if person is None or person.is_deleted else person

    def keep(self, person: Person, was: Iterable[Point] = ()) -> None:
        """Index a person that is new or changed; `was`: the addresses it had."""
        before = {point.value.lower() for point in was}
        after = set() if person.is_deleted else {point.value.lower() for point in person.emails}
        for address in before - after:
            holders = self._addresses.get(address, [])
            if person.id in holders:
                holders.remove(person.id)
            if not holders:
                self._addresses.pop(address, None)
                consent = self.consents.get(address)
                if consent is not None and consent.status == "subscribed":
                    consent.status = "archived"
        for address in after - before:
            self._addresses.setdefault(address, []).append(person.id)
        self.persons[person.id] = person
        for order in self.person_orders.values():
            order.put(person.id)

    def holders(self, address: str) -> list[int]:
        """Persons who have an address, the oldest first."""
        return sorted(self._addresses.get(address.lower(), ()))

    def note(self, person: int, entry: Entry) -> None:
        """Add to a person's change log."""
        entries = self.entries.setdefault(person, [])
        entries.append(entry)
        del entries[:-_KEPT_ENTRIES]

    def deleted(self, table: dict[int, Person] | dict[int, Activity], number: int) -> None:
        """A record was marked as deleted now. Forgets what was deleted 30 days ago, and its change log."""
        self._deleted.append((self.now(), table, number))
        while self._deleted[0][0] < self.now() - _PURGED_AFTER_S:
            _, purged, gone = self._deleted.popleft()
            record = purged.pop(gone)
            if isinstance(record, Activity):
                for person in record.participants:
                    self.activities_of[person].remove(gone)
            else:
                self.entries.pop(gone, None)

    def fill(self, people: Iterable[shapes.Person]) -> None:
        """Add people as an import of a month ago left them: fifty to a second."""
        began = self.now() - _FILLED_BEFORE_S
        for at, one in enumerate(people):
            number = self.next_id("person")
            added = began + at // _IMPORTED_A_SECOND
            person = Person(number, f"{one.first_name} {one.last_name}", 7, added, added, self.org(one.company))
            person.emails = (Point(one.email, True, "work"),)
            person.phones = (Point(one.phone, True, "work"),)
            person.job_title = one.title
            self.keep(person)
            if one.opted_out:
                self.consents[one.email.lower()] = Consent("unsubscribed")

    # --- Activities and leads -----------------------------------------------------------------------------------------

    def keep_activity(self, activity: Activity, was: Iterable[int] = ()) -> None:
        """Index an activity that is new or changed; `was`: the persons who took part."""
        for person in set(was) - set(activity.participants):
            self.activities_of[person].remove(activity.id)
        for person in set(activity.participants) - set(was):
            self.activities_of[person].append(activity.id)
        self.activities[activity.id] = activity
        for order in self.activity_orders.values():
            order.put(activity.id)

    def keep_lead(self, lead: Lead) -> None:
        self.leads[lead.id] = self.leads_by_number[lead.number] = lead
        self.lead_order.put(lead.number)

    def drop_lead(self, lead: Lead) -> None:
        del self.leads[lead.id]
        del self.leads_by_number[lead.number]

    def kind(self, key: str) -> Kind | None:
        """The type of activity of a key, which may be one that is used no more."""
        return next((kind for kind in self.kinds.values() if kind.key == key), None)

    def tell(self, event: Event) -> None:
        if self.hooks:
            self.listener(event)
