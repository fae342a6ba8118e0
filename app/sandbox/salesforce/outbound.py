"""Outbound messages: SOAP calls that tell of changed people. Source: Salesforce's pages on outbound messaging.

A message is sent at least once, until it is acknowledged: again after 15 seconds, then ever later up to two hours, and
given up after a day. There is no signature and no session in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

import httpx

from app.sandbox.delivery import Background
from app.sandbox.salesforce.fields import Object
from app.sandbox.salesforce.org import ORG_ID, Org
from app.sandbox.salesforce.wire import Row

_MOST_NOTICES = 100
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=15), timedelta(hours=2)
_GIVEN_UP = timedelta(hours=24)
_MOST_WAITING = 10_000
_PATIENCE_S = 60.0
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OUTBOUND = "http://soap.sforce.com/2005/09/outbound"


@dataclass
class _Message:
    url: str
    body: bytes
    made_at: datetime
    due_at: datetime
    wait: timedelta = _FIRST_WAIT


class Outbound(Background[_Message]):
    def __init__(self, org: Org) -> None:
        super().__init__(_PATIENCE_S)
        self._org = org

    @property
    def acknowledged(self) -> int:
        return self.delivered

    @property
    def sent(self) -> int:
        """Each time that a message was."""
        return self.delivered + self.failed

    def wake(self) -> None:
        """Tell what changed since, while other calls are answered."""
        if self._org.changed:
            self._collect()
            self.start()

    def due(self) -> Iterable[list[_Message]]:
        """One message after another."""
        now = self._org.now()
        due = [] if self._under_way else [one for one in self._waiting if one.due_at <= now]
        if not due:
            return ()
        self._waiting = [one for one in self._waiting if one.due_at > now]
        return (due,)

    async def deliver(self, http: httpx.AsyncClient, chosen: list[_Message]) -> None:
        for message in chosen:
            if await _is_acknowledged(http, message.url, message.body):
                self.delivered += 1
                continue
            self.failed += 1
            now = self._org.now()
            if now - message.made_at < _GIVEN_UP:
                message.due_at = now + message.wait
                message.wait = min(2 * message.wait, _LONGEST_WAIT)
                self._waiting.append(message)

    def _collect(self) -> None:
        """Make messages of what changed."""
        faults = self._org.faults
        changed, self._org.changed = self._org.changed, []
        if not faults.outbound_url:
            return
        groups = [list(group) for _, group in groupby(changed, key=lambda one: one[0].name)]
        pieces = [group[at : at + _MOST_NOTICES] for group in groups for at in range(0, len(group), _MOST_NOTICES)]
        if faults.outbound_backwards:
            pieces = [[one] for one in reversed(changed)]
        now = self._org.now()
        for piece in pieces:
            body = self._envelope(piece[0][0], [row for _, row in piece])
            for _ in range(2 if faults.outbound_twice else 1):
                self._waiting.append(_Message(faults.outbound_url, body, now, now))
        del self._waiting[:-_MOST_WAITING]

    def _envelope(self, of: Object, rows: Iterable[Row]) -> bytes:
        fields = [
            field for name in self._org.faults.outbound_fields if (field := self._org.field(of, name)) is not None
        ]
        notices = []
        for row in rows:
            values = ((field.name, field.read(row)) for field in fields)
            inner = "".join(f"<sf:{name}>{_plain(value)}</sf:{name}>" for name, value in values if value is not None)
            notices.append(
                f'<Notification><Id>{self._org.new_id("04l")}</Id><sObject xsi:type="sf:{of.name}" '
                f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com">{inner}</sObject></Notification>'
            )
        soap = "https://acme.my.salesforce.com/services/Soap"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{_SOAP}" '
            'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f'<soapenv:Body><notifications xmlns="{_OUTBOUND}"><OrganizationId>{ORG_ID}</OrganizationId>'
            '<ActionId>04kS70000000001AAA</ActionId><SessionId xsi:nil="true"/>'
            f"<EnterpriseUrl>{soap}/c/62.0/{ORG_ID}</EnterpriseUrl><PartnerUrl>{soap}/u/62.0/{ORG_ID}</PartnerUrl>"
            f"{''.join(notices)}</notifications></soapenv:Body></soapenv:Envelope>"
        ).encode()


def _plain(value: Any) -> str:  # Any: JSON
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


async def _is_acknowledged(http: httpx.AsyncClient, url: str, body: bytes) -> bool:
    """POST the message; whether the answer is 200 and says so."""
    try:
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        answer = await http.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return answer.status_code == 200 and b"<Ack>true</Ack>" in answer.content.replace(b" ", b"")
