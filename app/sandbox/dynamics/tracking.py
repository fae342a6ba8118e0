"""Change tracking: all rows once, and from then on what changed. Source: "Use change tracking to synchronize data".

A link to changes holds the version up to which all is told. A baseline's is that at which its first page was read, so
what changed while the pages were read is told with the first changes.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import quote, unquote

from app.sandbox.dynamics import conditions
from app.sandbox.dynamics.columns import Table
from app.sandbox.dynamics.cookies import Cookies
from app.sandbox.dynamics.org import INTEGRATION, Org
from app.sandbox.dynamics.queries import check_options, page_size
from app.sandbox.dynamics.showing import Show, shower
from app.sandbox.dynamics.wire import Call, Json, Refusal, Reply, Row, no_privilege, query_fault

_DELTATOKEN = re.compile(r"(?:^|&)(?:\$|%24)deltatoken=([^&]*)")
_TOKEN = re.compile(r"(\d{1,15})!(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d)")
_FORMAT = "%m/%d/%Y %H:%M:%S"
_EXPIRED = "0x80044352"
_REFUSED = ("$filter", "$orderby", "$expand", "$top")


class Tracking:
    def __init__(self, org: Org, cookies: Cookies) -> None:
        self._org = org
        self._cookies = cookies

    def is_asked(self, call: Call) -> bool:
        is_wanted = call.prefers("odata.track-changes") is not None
        return is_wanted or _DELTATOKEN.search(call.raw_query) is not None or self._cookies.is_tracking(call)

    def rows(self, call: Call, of: Table) -> Reply:
        """A page of the baseline, or of what changed."""
        options = check_options(call)
        self._check(call, of, options)
        show = shower(self._org, of, conditions.selected(of, options), call.prefers("odata.include-annotations"))
        place = self._cookies.read(call, is_tracking=True)
        version = self._version(call, of)
        if place is None:
            place = {"page": 1, "since": version, "until": self._org.version, "last": "", "gone": 0}
        if place["since"] is None:
            return self._baseline(call, of, show, place)
        return self._changes(call, of, show, place)

    def count(self, call: Call, of: Table) -> int | None:
        """How many rows changed since the token that the call has; None if it has none."""
        version = self._version(call, of)
        if version is None:
            return None
        rows = self._org.rows(of.name)
        changed = rows.orders["versionnumber"].ascending((version, "~"))
        return sum(1 for _ in changed) + len(rows.deleted_since(version, self._org.version))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _baseline(self, call: Call, of: Table, show: Show, place: Json) -> Reply:
        size = page_size(self._org, call)
        rows = self._org.rows(of.name).orders["id"].ascending(("", place["last"]), after=True)
        page = list(islice(rows, size + 1))
        columns = call.query.get("$select", "")
        context = f"{call.root}$metadata#{of.set_name}({columns})" if columns else f"{call.root}$metadata#{of.set_name}"
        body: Json = {"@odata.context": context, "value": [show(row) for row in page[:size]]}
        if len(page) > size:
            further = {**place, "page": place["page"] + 1, "last": page[size - 1][of.primary_id]}
            body["@odata.nextLink"] = self._cookies.link(call, of, further, is_tracking=True)
        else:
            body["@odata.deltaLink"] = self._link(call, of, place["until"])
        return Reply(body=body, headers=_APPLIED, rows=len(body["value"]))

    def _changes(self, call: Call, of: Table, show: Show, place: Json) -> Reply:
        """Rows by the version of their last change, then what was deleted."""
        size = page_size(self._org, call)
        rows = self._org.rows(of.name)
        since, until = place["since"], place["until"]
        low = (since if place["last"] == "" else place["last"], "~")
        changed: list[Row] = list(islice(rows.orders["versionnumber"].ascending(low, (until, "~")), size + 1))
        body: Json = {"@odata.context": f"{call.root}$metadata#{of.set_name}/$delta"}
        body["value"] = [show(row) for row in changed[:size]]
        further = {**place, "page": place["page"] + 1}
        if changed:
            further["last"] = changed[:size][-1]["versionnumber"]
        gone = rows.deleted_since(since, until)[place["gone"] :]
        told = gone[: size - len(body["value"])]
        body["value"] += [
            {
                "@odata.context": f"{call.root}$metadata#{of.set_name}/$deletedEntity", "id": id_, "reason": "deleted",
            }
            for id_ in told
        ]  # fmt: skip
        further["gone"] = place["gone"] + len(told)
        if len(changed) > size or len(gone) > len(told):
            body["@odata.nextLink"] = self._cookies.link(call, of, further, is_tracking=True)
        else:
            body["@odata.deltaLink"] = self._link(call, of, until)
        return Reply(body=body, headers=_APPLIED, rows=len(body["value"]))

    def _check(self, call: Call, of: Table, options: dict[str, str]) -> None:
        for name in _REFUSED:
            if name in options:
                raise query_fault(f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.')
        if not of.may_track or of.name in self._org.faults.untracked:
            raise query_fault(
                f"Change tracking is not enabled for the entity '{of.name}'. Enable change tracking and try again."
            )
        if self._org.faults.own_rows_only and call.user_id == INTEGRATION:
            raise no_privilege(call.user_id, f"prvRead{of.schema_name}", of.name)

    def _version(self, call: Call, of: Table) -> int | None:
        """What the call's token says. Raises Refusal for one that is none, or too old."""
        found = _DELTATOKEN.search(call.raw_query)
        if found is None:
            return None
        match = _TOKEN.fullmatch(unquote(found[1]))
        if match is None or found[1] != _written(match[1], match[2]):
            raise query_fault("The delta token is not valid. Use the link to changes as it was given.")
        faults, version = self._org.faults, int(match[1])
        try:
            age = self._org.now() - datetime.strptime(match[2], _FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise query_fault("The delta token is not valid.") from None
        is_lost = faults.lose_deltas or (faults.columns_end_deltas and of.columns_changed_at > version)
        if is_lost or age > timedelta(days=faults.tracking_days):
            message = "Version stamp associated with the client has expired. Please perform a full sync."
            raise Refusal(_EXPIRED, message, faults.expired_status)
        return version

    def _link(self, call: Call, of: Table, version: int) -> str:
        kept = [
            one
            for one in call.raw_query.split("&")
            if one and not re.match(r"(?:\$|%24)(?:skiptoken|deltatoken)=", one)
        ]
        token = _written(str(version), self._org.now().strftime(_FORMAT))
        return f"{call.root}{of.set_name}?{'&'.join([*kept, f'$deltatoken={token}'])}"


_APPLIED = {"Preference-Applied": "odata.track-changes"}


def _written(version: str, at: str) -> str:
    """As `919042%2108%2f22%2f2026%2008%3a10%3a44`."""
    return re.sub(r"%..", lambda match: match[0].lower(), quote(f"{version}!{at}", safe=""))
