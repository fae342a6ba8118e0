"""One account: its tables, properties, apps and what addresses consented to. No rule of the API is here."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from uuid import UUID

from app.sandbox import shapes
from app.sandbox.hubspot import catalog
from app.sandbox.hubspot.catalog import ObjectType
from app.sandbox.hubspot.faults import Faults
from app.sandbox.hubspot.records import (
    App,
    Author,
    Consent,
    Event,
    Group,
    Property,
    Record,
    Standing,
    Topic,
    User,
)
from app.sandbox.hubspot.table import Table

PORTAL_ID = 62_515
PRIVATE_APP, PUBLIC_APP = 54_321, 19_083_857
SALES, ADMIN = 7, 9
_FILLED_BEFORE_MS = 30 * 86_400_000
_IMPORTED_EVERY_MS = 20
_TOPICS = (
    ("Marketing Information", "Marketing offers and updates.", "Marketing"),
    ("One to One", "One to One emails", "One-to-One"),
)


class Portal:
    """The tables are open to the modules that write them."""

    def __init__(self, clock: shapes.Clock, name: str = "acme") -> None:
        self.clock = clock
        self.name = name
        self.faults = Faults()
        self.users = {
            SALES: User(SALES, 407, "jane.doe@example.com", "Jane", "Doe"),
            ADMIN: User(ADMIN, 409, "admin@example.com", "Ada", "Admin"),
        }
        at = self.millis()
        self.made_at = at
        self.tables = {of.name: Table(of, self._lag_ms, self.millis) for of in catalog.TYPES}
        self.properties: dict[str, dict[str, Property]] = {of.name: catalog.built_in(of, at) for of in catalog.TYPES}
        self.groups = {of.name: self._group(of) for of in catalog.TYPES}
        self.links: defaultdict[tuple[str, int], dict[tuple[str, int], None]] = defaultdict(dict)
        """What each object is associated with, the oldest first; both ends of each."""
        self.topics: dict[int, Topic] = {}
        self.consents: dict[str, Consent] = {}
        self.apps = {
            PRIVATE_APP: self._app(PRIVATE_APP, "Scores (private app)", is_private=True),
            PUBLIC_APP: self._app(PUBLIC_APP, "Scores", is_private=False),
        }
        self.developer_key = self.secret("developer key")[:36]
        self.calls: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.writes: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """How often the API wrote each record, by type."""
        self.listener: Callable[[Event], None] = lambda _: None
        self._ids: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
        self._ids["object"] = count(101)
        for topic in _TOPICS:
            self.add_topic(*topic)

    def millis(self) -> int:
        """Now, as Unix time in milliseconds."""
        return int(self.clock().timestamp() * 1_000)

    def stamp(self) -> int:
        """What is written now is stamped with this."""
        return self.millis() - max(0, min(self.faults.late_s, 10**8)) * 1_000

    def next_id(self, what: str) -> int:
        return next(self._ids[what])

    def secret(self, what: str) -> str:
        """40 hexadecimal digits, the same for the same account and purpose."""
        return hashlib.sha256(f"{self.name}:{what}".encode()).hexdigest()[:40]

    def uuid(self, what: str) -> str:
        return str(UUID(self.secret(what)[:32], version=4))

    def tell(self, event: Event) -> None:
        if any(app.subscriptions for app in self.apps.values()):
            self.listener(event)

    def add_topic(self, name: str, description: str, purpose: str) -> Topic:
        """A subscription type; contacts have a property for it."""
        made = Topic(self.next_id("topic"), name, description, purpose, self.millis())
        self.topics[made.id] = made
        field = catalog.opted_out_of(made.id)
        of = self.properties["contacts"]["hs_email_optout"]
        self.properties["contacts"][field] = Property(
            field, f"Opted out of email: {name}", of.type, of.field_type, of.group, of.options,
            is_read_only=True, made_at=made.made_at, changed_at=made.made_at,
        )  # fmt: skip
        return made

    def contact_of(self, address: str) -> Record | None:
        """Who has an address, be it the primary one or another."""
        number = self.tables["contacts"].holders.get(address.lower())
        return None if number is None else self.tables["contacts"].live[number]

    def fill(self, people: Iterable[shapes.Person]) -> None:
        """Add people as an import of a month ago left them: fifty to a second."""
        began = self.millis() - _FILLED_BEFORE_MS
        table, author = self.tables["contacts"], Author("IMPORT", "4711", SALES)
        for at, one in enumerate(people):
            made = began + at * _IMPORTED_EVERY_MS
            values = {
                "email": one.email.lower(), "firstname": one.first_name, "lastname": one.last_name,
                "company": one.company, "jobtitle": one.title, "phone": one.phone, "lifecyclestage": "lead",
            }  # fmt: skip
            if one.opted_out:
                self.consents[values["email"]] = Consent(Standing(True, made, "IMPORT"))
                values["hs_email_optout"] = "true"
            table.put(Record(self.next_id("object"), made, made, values, author))

    def _lag_ms(self) -> int:
        return int(self.faults.search_lag_s * 1_000)

    def _group(self, of: ObjectType) -> dict[str, Group]:
        name = next(iter(self.properties[of.name].values())).group
        return {name: Group(name, f"{of.singular.capitalize()} information", 0)}

    def _app(self, number: int, name: str, *, is_private: bool) -> App:
        client_id = self.uuid(f"client {number}")
        return App(number, name, client_id, self.uuid(f"client secret {number}"), is_private, settings_at=self.made_at)
