"""Delivering what apps are told: batches, attempts.

Source: the documentation of webhooks and summaries of others: at most a hundred events to a request, five seconds of
patience, any 2xx is success, ten more attempts within 24 hours. How the attempts are spread is not documented.
"""

from datetime import timedelta

import httpx
import orjson

from app.sandbox import delivery
from app.sandbox.delivery import Attempt
from app.sandbox.hubspot import webhooks
from app.sandbox.hubspot.portal import Portal
from app.sandbox.hubspot.records import App, Event

_PATIENCE_S = 5.0
_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60, 120, 180, 240, 360, 360))
_BATCH = 100


class Delivery(delivery.Delivery[App]):
    """`delivered` and `failed` count events, each time that they were sent."""

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal.clock, portal.faults, _PATIENCE_S)
        self._portal = portal

    def offer(self, event: Event) -> None:
        for app in self._portal.apps.values():
            for subscription in webhooks.wanted(event, app) if app.target_url is not None else ():
                self.add(app, webhooks.message(self._portal, app, subscription, event))
        self.start()

    async def deliver(self, http: httpx.AsyncClient, chosen: list[Attempt[App]]) -> None:
        app = chosen[0].receiver
        for first in range(0, len(chosen), _BATCH):
            batch = chosen[first : first + _BATCH]
            if app.target_url is None:
                return
            body = orjson.dumps([{**one.message, "attemptNumber": one.number} for one in batch])
            headers = webhooks.headers(self._portal, app, body)
            if delivery.is_success(await self.post(http, app.target_url, body, headers)):
                self.delivered += len(batch)
            else:
                self.failed += len(batch)
                for one in batch:
                    self.try_again(one, _WAITS)
