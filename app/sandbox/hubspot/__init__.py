"""A stand-in HubSpot: CRM objects, search, properties, subscriptions, OAuth, limits and webhooks, in memory.

Facts are of 2024 to October 2026, from the developer documentation and the official clients' sources, where nothing
else is named. `serving` is the web app; `calls` lists what can be called; the rest carries it out.
"""

from app.sandbox.hubspot.serving import Hubspot

__all__ = ["Hubspot"]
