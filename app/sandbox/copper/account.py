"""One account: its tables, its people, what is counted. No rule of the API is here."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from app.sandbox import shapes
from app.sandbox.copper.faults import Faults
from app.sandbox.copper.records import (
    Activity,
    ActivityType,
    Company,
    Definition,
    Event,
    Hook,
    Lead,
    Opportunity,
    Person,
    Point,
    Somebody,
    User,
)
from app.sandbox.copper.table import Table

ACCOUNT_ID = 1
HUMAN = 137_658
"""Who works in Copper."""
INTEGRATION = 159_258
RESTRICTED = 160_001
OPTED_OUT = "Email opted out"
CONTACT_TYPES = {451_490: "Potential Customer", 451_491: "Current Customer", 451_492: "Uncategorized", 451_493: "Other"}
LEAD_STATUSES = {208_231: "New", 208_232: "Unqualified", 208_233: "Contacted", 208_234: "Qualified"}
CUSTOMER_SOURCES = {331_240: "Email", 331_241: "Cold Call", 331_242: "Advertising"}
_TYPES = [
    ActivityType(0, "user", "Note", count_as_interaction=False),
    ActivityType(190_711, "user", "Phone Call", count_as_interaction=True),
    ActivityType(190_712, "user", "Meeting", count_as_interaction=True),
    ActivityType(1, "system", "Property Changed", count_as_interaction=False),
    ActivityType(3, "system", "Pipeline Stage Changed", count_as_interaction=False),
]
_FIRST_ID = {"definition": 705_303, "option": 2_082_340, "type": 191_400, "hook": 17_065}
_FILLED_BEFORE_S = 30 * 86_400
_IMPORTED_A_SECOND = 50
_RESTRICTED_HAS_EACH = 10


class Account:
    """The tables are open to the modules that write them; what an index needs goes through the methods."""

    def __init__(self, clock: shapes.Clock, name: str = "Acme") -> None:
        self.clock = clock
        self.name = name
        self.faults = Faults()
        self.users = {
            HUMAN: User(HUMAN, "Jane Smith", "jane.smith@example.com", is_admin=True),
            INTEGRATION: User(INTEGRATION, "Integration", "integration@example.com", is_admin=True),
            RESTRICTED: User(RESTRICTED, "Ravi Patel", "ravi.patel@example.com", is_admin=False),
        }
        self.people: Table[Person] = Table(
            {
                "first_name": lambda one: (one.first_name or "").lower(),
                "name": lambda one: one.name.lower(),
                "date_modified": lambda one: one.date_modified,
                "date_created": lambda one: one.date_created,
            },
            _addresses,
        )
        self.leads: Table[Lead] = Table(
            {
                "name": lambda one: one.name.lower(),
                "date_modified": lambda one: one.date_modified,
                "date_created": lambda one: one.date_created,
            },
            _addresses,
            lambda one: one.converted_at is None,
        )
        self.activities: Table[Activity] = Table(
            {"activity_date": lambda one: one.activity_date}, shown=lambda one: not one.is_deleted
        )
        self.activities_of: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        self.companies: dict[int, Company] = {}
        self.opportunities: dict[int, Opportunity] = {}
        self.definitions: dict[int, Definition] = {}
        self.types = {(kind.category, kind.id): replace(kind) for kind in _TYPES}
        self.revision = 0
        """Moves with what searches go by beside the records: fields and opportunities."""
        self.hooks: dict[int, Hook] = {}
        self.tags: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.writes: Counter[tuple[str, int]] = Counter()
        """Of the API, by record; also those that changed nothing."""
        self.requests = 0
        """All calls of the API, whatever they were answered."""
        self.listener: Callable[[Event], None] = lambda _: None
        self._company_ids: dict[str, int] = {}
        self._ids: dict[str, count[int]] = {}

    def millis(self) -> int:
        """Now, as Unix time in milliseconds."""
        return int(self.clock().timestamp() * 1_000)

    def now(self) -> int:
        """Now, as Unix time in whole seconds: the precision of all times in Copper."""
        return self.millis() // 1_000

    def next_id(self, table: str) -> int:
        """Ids are of one kind of record only: there is a person 1, and a lead 1."""
        return next(self._ids.setdefault(table, count(_FIRST_ID.get(table, 1))))

    def secret(self, what: str) -> str:
        """32 hexadecimal digits, the same in every run, so that a configuration can be kept."""
        return hashlib.sha256(f"{self.name}:{what}".encode()).hexdigest()[:32]

    @property
    def lag_ms(self) -> int:
        """How far search is behind."""
        return int(self.faults.search_lag_s * 1_000)

    # --- Records ------------------------------------------------------------------------------------------------------

    def keep(self, record: Person | Lead) -> None:
        """Add a person or a lead, or replace it."""
        table: Table[Person] | Table[Lead] = self.people if isinstance(record, Person) else self.leads
        self._count_tags(table.rows.get(record.id), record)
        if isinstance(record, Person):
            self.people.put(record, self.millis(), self.lag_ms)
        else:
            self.leads.put(record, self.millis(), self.lag_ms)

    def drop(self, record: Person | Lead) -> None:
        table: Table[Person] | Table[Lead] = self.people if isinstance(record, Person) else self.leads
        self._count_tags(record, None)
        table.drop(record.id, self.millis(), self.lag_ms)

    def somebody(self, kind: str, number: int) -> Person | Lead | None:
        """The `person` or the `lead` of this id; there is none of another kind."""
        if kind == "person":
            return self.people.rows.get(number)
        return self.leads.rows.get(number) if kind == "lead" else None

    def keep_activity(self, activity: Activity) -> None:
        """Add an activity, or replace it. A deleted one stays, as a stub."""
        old = self.activities.rows.get(activity.id)
        if old is not None:
            self.activities_of[old.parent].discard(old.id)
        self.activities_of[activity.parent].add(activity.id)
        self.activities.put(activity, self.millis(), self.lag_ms)

    def company(self, name: str) -> int:
        """The company of this name, made if there is none."""
        if name not in self._company_ids:
            number = self.next_id("company")
            self._company_ids[name], self.companies[number] = number, Company(number, name, self.now())
        return self._company_ids[name]

    def opportunity(self, name: str, contact: Person, value: float | None = None) -> Opportunity:
        """A new one of a person and their company."""
        made = Opportunity(
            self.next_id("opportunity"), name, contact.id, contact.company_id, self.now(), monetary_value=value
        )
        self.opportunities[made.id] = made
        self.revision += 1
        return made

    def definitions_of(self, kind: str) -> list[Definition]:
        """The custom fields of `person` or `lead`."""
        return [one for one in self.definitions.values() if kind in one.available_on]

    def tell(self, event: Event) -> None:
        if self.hooks:
            self.listener(event)

    def _count_tags(self, old: Somebody | None, new: Somebody | None) -> None:
        self.tags.subtract(() if old is None else old.tags)
        self.tags.update(() if new is None else new.tags)

    def fill(self, people: Iterable[shapes.Person]) -> None:
        """Add people as an import of a month ago left them: fifty to a second, every tenth the restricted user's.

        Copper knows no opt-out: who has opted out has a checkbox, which is made for the first of them. Who has an
        address that is somebody's is left out.
        """
        began = self.now() - _FILLED_BEFORE_S
        box = next((one.id for one in self.definitions.values() if one.name == OPTED_OUT), None)
        strangers = (one for one in people if not self.people.holders(one.email))
        for at, one in enumerate(strangers):
            if one.opted_out and box is None:
                box = self.next_id("definition")
                self.definitions[box] = Definition(box, OPTED_OUT, "Checkbox", ("person", "lead"), is_filterable=True)
                self.revision += 1
            added = began + at // _IMPORTED_A_SECOND
            person = Person(
                id=self.next_id("person"),
                name=f"{one.first_name} {one.last_name}",
                date_created=added,
                date_modified=added,
                first_name=one.first_name,
                last_name=one.last_name,
                assignee_id=HUMAN if at % _RESTRICTED_HAS_EACH else RESTRICTED,
                company_id=self.company(one.company),
                company_name=one.company,
                title=one.title,
                emails=(Point(one.email, "work"),),
                phone_numbers=(Point(one.phone, "work"),),
            )
            if one.opted_out and box is not None:
                person.custom = {box: True}
            self.keep(person)


def _addresses(one: Person | Lead) -> list[str]:
    return [point.value for point in one.emails]
