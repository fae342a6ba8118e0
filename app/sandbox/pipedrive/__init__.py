"""A stand-in Pipedrive: both versions of its REST API, OAuth, limits and webhooks, in memory.

Facts are of August to October 2026, from the OpenAPI documents and the developer documentation, where nothing else
is named. `serving` is the web app; `calls` lists what can be called; the rest carries it out.
"""

from app.sandbox.pipedrive.serving import Pipedrive

__all__ = ["Pipedrive"]
