"""What somebody who works in HubSpot does, for `POST /_sandbox/edit`; histories and events say `CRM_UI`."""

from collections.abc import Callable

from app.sandbox import controls
from app.sandbox.edits import Act, carry_out
from app.sandbox.hubspot import catalog, consents, properties, showing, webhooks, writing
from app.sandbox.hubspot.access import Access
from app.sandbox.hubspot.catalog import BOUNCES, ObjectType
from app.sandbox.hubspot.portal import PRIVATE_APP, PUBLIC_APP, SALES, Portal
from app.sandbox.hubspot.records import App, Author, Record, Standing
from app.sandbox.hubspot.wire import Json, Refused, iso, number_of

AT_WORK = Author("CRM_UI", f"userId:{SALES}", SALES)
_BOUNCED = {
    "hs_email_hard_bounce_reason": "550 5.1.1 no such user", "hs_email_hard_bounce_reason_enum": "UNKNOWN_USER",
    "hs_email_bounce": "1", "hs_email_bad_address": "true",
}  # fmt: skip


class Edits:
    """By what is done and to what."""

    def __init__(self, portal: Portal, access: Access) -> None:
        self._portal = portal
        self._access = access
        self._of = portal.tables["contacts"].of
        self._known: dict[tuple[str, str], Act] = {
            ("merge", "contact"): self._merge,
            ("purge", "contact"): self._purge,
            ("opt_out", "contact"): self._opt_out,
            ("opt_in", "contact"): self._opt_in,
            ("bounce", "contact"): self._bounce,
            ("unbounce", "contact"): self._unbounce,
            ("opt_out", "address"): self._address_out,
            ("create", "property"): self._create_property,
            ("delete", "property"): self._delete_property,
            ("create", "group"): self._create_group,
            ("create", "subscription_type"): self._create_topic,
            ("change", "webhooks"): self._set_up,
            ("create", "subscription"): self._subscribe,
            ("delete", "subscription"): self._unsubscribe,
            ("expire", "tokens"): self._expire,
            ("uninstall", "app"): self._uninstall,
        }
        for of in catalog.TYPES:
            name = of.singular.removesuffix("_event")
            for do, act in (
                ("create", self._create), ("change", self._change), ("delete", self._delete),
                ("restore", self._restore),
            ):  # fmt: skip
                self._known[do, name] = _bound(act, of)

    def carry_out(self, body: Json) -> Json:
        """Raises controls.Refused."""
        return carry_out(self._known, body, Refused)

    # --- Objects ------------------------------------------------------------------------------------------------------

    def _create(self, of: ObjectType, _: object, values: Json) -> Json:
        """`contacts`: with whom an activity was."""
        others = self._contacts(values)
        given = writing.checked(self._portal, of, values, by_human=True)
        if not of.is_contact:
            given.setdefault("hs_timestamp", iso(self._portal.millis()))
        made = writing.create(self._portal, of, given, AT_WORK)
        for other in others or ():
            writing.link(self._portal, (of.name, made.id), ("contacts", other))
        return self._shown(of, made)

    def _change(self, of: ObjectType, id_: object, values: Json) -> Json:
        record, others = self._there(of, id_), self._contacts(values)
        if others is not None:
            own = (of.name, record.id)
            writing.unlink(self._portal, own, list(self._portal.links[own]))
            for other in others:
                writing.link(self._portal, own, ("contacts", other))
            record = record._replace(updated=self._portal.stamp())
            self._portal.tables[of.name].put(record)
        given = writing.checked(self._portal, of, values, by_human=True)
        return self._shown(of, writing.change(self._portal, of, record, given, AT_WORK))

    def _delete(self, of: ObjectType, id_: object, _: Json) -> Json:
        record = self._there(of, id_)
        writing.archive(self._portal, of, record, AT_WORK)
        return {"id": str(record.id)}

    def _restore(self, of: ObjectType, id_: object, _: Json) -> Json:
        return self._shown(of, writing.restore(self._portal, of, _number(id_), AT_WORK))

    def _merge(self, id_: object, values: Json) -> Json:
        """`into`: the primary contact, whose values win."""
        primary, other = self._there(self._of, values.get("into")), self._there(self._of, id_)
        return self._shown(self._of, writing.merge(self._portal, self._of, primary, other, AT_WORK))

    def _purge(self, id_: object, _: Json) -> Json:
        writing.purge(self._portal, self._of, _number(id_), AT_WORK)
        return {"id": str(id_)}

    # --- What addresses say, and bounces ------------------------------------------------------------------------------

    def _opt_out(self, id_: object, values: Json) -> Json:
        return self._say(id_, values, is_out=True)

    def _opt_in(self, id_: object, values: Json) -> Json:
        return self._say(id_, values, is_out=False)

    def _say(self, id_: object, values: Json, *, is_out: bool) -> Json:
        """`subscription`: the type; without it, all mail."""
        address = self._there(self._of, id_).values.get("email")
        if address is None:
            raise controls.Refused("the contact has no address")
        self._address_says(address, values, is_out=is_out)
        return self._shown(self._of, self._there(self._of, id_))

    def _address_out(self, id_: object, values: Json) -> Json:
        """`id` is an address, whether a contact has it or not."""
        self._address_says(str(id_).lower(), values, is_out=True)
        return {"id": str(id_).lower()}

    def _address_says(self, address: str, values: Json, *, is_out: bool) -> None:
        topic = values.get("subscription")
        number = None if topic is None else number_of(str(topic))
        if topic is not None and number not in self._portal.topics:
            raise controls.Refused("there is no such subscription type")
        standing = Standing(is_out, self._portal.stamp(), "CRM_UI")
        consents.say(self._portal, address, number, standing, AT_WORK)

    def _bounce(self, id_: object, values: Json) -> Json:
        """What HubSpot finds out when its own mail comes back; `values` may say otherwise."""
        return self._found_out(id_, {**_BOUNCED, **values})

    def _unbounce(self, id_: object, _: Json) -> Json:
        return self._found_out(id_, dict.fromkeys(BOUNCES, ""))

    def _found_out(self, id_: object, values: Json) -> Json:
        given = writing.checked(self._portal, self._of, values, by_human=True)
        record = self._there(self._of, id_)
        return self._shown(self._of, writing.put(self._portal, self._of, record, given, Author("EMAIL", "")))

    # --- Settings -----------------------------------------------------------------------------------------------------

    def _create_property(self, _: object, values: Json) -> Json:
        """As the API takes it; `object` is its type of objects, contacts without it."""
        of = str(values.pop("object", "contacts"))
        return showing.property_(properties.make(self._portal, of, {"groupName": self._group(of), **values}))

    def _delete_property(self, id_: object, values: Json) -> Json:
        one = self._portal.properties.get(str(values.get("object", "contacts")), {}).get(str(id_))
        if one is None or not one.is_custom or one.is_archived:
            raise controls.Refused("there is no such custom property")
        one.is_archived = True
        return showing.property_(one)

    def _create_group(self, _: object, values: Json) -> Json:
        of = str(values.pop("object", "contacts"))
        return {"name": properties.make_group(self._portal, of, values).name}

    def _create_topic(self, _: object, values: Json) -> Json:
        name = str(values.get("name") or "Newsletter")
        return {"id": str(self._portal.add_topic(name, str(values.get("description") or ""), "Marketing").id)}

    def _set_up(self, _: object, values: Json) -> Json:
        """`targetUrl`; `app` is `private`, as without it, or `public`."""
        app = self._app(values)
        return {"targetUrl": webhooks.set_up(self._portal, app, values).target_url, "appId": app.id}

    def _subscribe(self, _: object, values: Json) -> Json:
        app = self._app(values)
        return {"id": str(webhooks.subscribe(self._portal, app, {"active": True, **values}).id), "appId": app.id}

    def _unsubscribe(self, id_: object, values: Json) -> Json:
        if self._app(values).subscriptions.pop(number_of(str(id_)) or 0, None) is None:
            raise controls.Refused("there is no such subscription")
        return {"id": str(id_)}

    def _expire(self, _: object, __: Json) -> Json:
        """All access tokens of OAuth end."""
        self._access.expire()
        return {}

    def _uninstall(self, _: object, __: Json) -> Json:
        self._access.uninstall(self._access.refresh_token)
        return {}

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _there(self, of: ObjectType, id_: object) -> Record:
        record = self._portal.tables[of.name].find(_number(id_))
        if record is None:
            raise controls.Refused(f"there is no such {of.singular}")
        return record

    def _contacts(self, values: Json) -> list[int] | None:
        """The contacts that an edit of an activity names; None if it names none."""
        given = values.pop("contacts", None)
        if given is None:
            return None
        if not isinstance(given, list):
            raise controls.Refused("contacts is a list of ids")
        return [self._there(self._of, one).id for one in given]

    def _app(self, values: Json) -> App:
        name = values.pop("app", "private")
        if name not in ("private", "public"):
            raise controls.Refused("app is private or public")
        return self._portal.apps[PRIVATE_APP if name == "private" else PUBLIC_APP]

    def _group(self, of: str) -> str:
        return next(iter(self._portal.groups.get(of, {"": None})))

    def _shown(self, of: ObjectType, record: Record) -> Json:
        """With all properties."""
        return showing.shown(record, showing.view(self._portal, of, self._portal.properties[of.name]))


def _bound(act: Callable[[ObjectType, object, Json], Json], of: ObjectType) -> Act:
    return lambda id_, values: act(of, id_, values)


def _number(id_: object) -> int:
    number = number_of(str(id_))
    if number is None:
        raise controls.Refused("the id of this is a number")
    return number
