"""Outbound messages: SOAP calls that tell of changed records, and how an administrator sets them up.

A message is not signed, comes at least once, and out of order. It is a hint: what it says of a record is not believed,
the record is read. Source: Salesforce's pages on outbound messaging.
"""

from collections.abc import Mapping
from xml.parsers import expat

from app.connectors.salesforce.people import OBJECTS
from app.connectors.salesforce.values import is_id, same_id
from app.connectors.shapes import Hint, Key, Notice

_OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
_NOTIFICATION, _ORGANISATION = f"{_OUTBOUND} Notification", f"{_OUTBOUND} OrganizationId"
_RECORD = f"{_OUTBOUND} sObject"
_ID = "urn:sobject.enterprise.soap.sforce.com Id"
_TYPE = "http://www.w3.org/2001/XMLSchema-instance type"
_ACTIVITIES = {"Task", "Event", "CampaignMember"}
_MOST = 1_000
"""Records in a message; Salesforce sends a hundred at most."""
_ACKNOWLEDGED = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)


class _Message:
    """What a message is about. The parser tells it of each element as it comes; no tree is built."""

    def __init__(self) -> None:
        self.organisation: str | None = None
        self.records: list[tuple[str, str]] = []
        """Object and id."""
        self.is_one = False
        self._type = ""
        self._path: list[str] = []
        self._text: list[str] = []

    def begin(self, name: str, attributes: Mapping[str, str]) -> None:
        self._path.append(name)
        self._text = []
        self.is_one = self.is_one or name == _NOTIFICATION
        if name == _RECORD:
            self._type = attributes.get(_TYPE, "").rpartition(":")[2]

    def say(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        self._path.pop()
        text = "".join(self._text).strip()
        if name == _ORGANISATION:
            self.organisation = text
        elif name == _ID and self._path[-1:] == [_RECORD]:
            if not is_id(text) or len(self.records) == _MOST:
                raise ValueError("the message names what is no record, or too many")
            self.records.append((self._type, text))
        self._text = []


def read(body: bytes, organisation: str | None) -> Notice:
    """Raises ValueError for what is no outbound message, or one of another org than the one that is given."""
    message = _Message()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = message.begin
    parser.EndElementHandler = message.end
    parser.CharacterDataHandler = message.say
    # Without a document type there are no entities, and with them go all that a body can do to its parser: expansions
    # that fill the memory, and files and addresses that it would have to fetch.
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise ValueError("the body is not XML") from None
    if not message.is_one:
        raise ValueError("the body is no outbound message")
    if organisation is not None and not same_id(organisation, message.organisation):
        raise ValueError("the message is of another org")
    hints = [Hint(Key(of, id_)) for of, id_ in dict.fromkeys(message.records) if of in OBJECTS]
    return Notice(hints, any(of in _ACTIVITIES for of, _ in message.records), _ACKNOWLEDGED, "text/xml")


def recipe(url: str) -> str:
    """For an administrator. The address is all that a message can prove itself by: there is no place for a password."""
    objects = " and ".join(OBJECTS)
    flow = (
        f"4. Setup > Flows > New > Record-Triggered Flow, once for each of {objects}: when a record is created or "
        "updated, after it is saved; add the action Outbound Message, choose the one made above, and activate."
    )
    quiet = (
        "5. So that our own changes are not told back, take the permission `Send Outbound Messages` from our user's "
        "profile, and choose another user in step 3."
    )
    return "\n".join(
        (
            "Changes are looked for every few minutes. To be told of them at once, as an administrator:",
            "1. Setup > Outbound Messages > New, once for each of the objects " + objects + ".",
            f"2. Endpoint URL: {url}",
            "3. Fields to send: Id alone. Leave `Send Session ID` unticked. User to send as: our user.",
            flow,
            quiet,
        )
    )


def _refuse(*declared: object) -> None:  # noqa: ARG001 - expat's arguments
    raise ValueError("a message declares no document type")
