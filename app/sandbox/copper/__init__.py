"""A stand-in Copper: its Developer API, API keys and OAuth, limits and webhooks, in memory.

Facts are of August to October 2026, from the Developer API's documentation and its Postman collection, where nothing
else is named. `serving` is the web app; `calls` lists what can be called; the rest carries it out.
"""

from app.sandbox.copper.serving import Copper

__all__ = ["Copper"]
