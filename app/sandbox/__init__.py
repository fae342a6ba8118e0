"""Stand-in CRMs that speak the documented wire formats: to try the sync without an account, and to test it.

They know nothing of the rest of Leadtally. Each is a `shapes.StandIn`; `server` serves them side by side.
"""
