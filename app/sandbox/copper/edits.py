"""What somebody who works in Copper does, for `POST /_sandbox/edit`."""

from app.sandbox import controls
from app.sandbox.copper import activities, activity_types, definitions, leads, people, people_calls, showing
from app.sandbox.copper.access import Access
from app.sandbox.copper.account import HUMAN, Account
from app.sandbox.copper.records import Definition
from app.sandbox.copper.wire import Caller, Json, Refused
from app.sandbox.edits import Act, carry_out, number_of

_PERSON_AT_WORK = Caller(HUMAN, is_api=False)


class Edits:
    """By what is done and to what."""

    def __init__(self, account: Account, access: Access) -> None:
        self._account = account
        self._access = access
        self._known: dict[tuple[str, str], Act] = {
            ("create", "person"): self._create_person,
            ("change", "person"): self._change_person,
            ("delete", "person"): self._delete_person,
            ("merge", "person"): self._merge,
            ("create", "lead"): self._create_lead,
            ("change", "lead"): self._change_lead,
            ("delete", "lead"): self._delete_lead,
            ("convert", "lead"): self._convert,
            ("create", "activity"): self._log,
            ("change", "activity"): self._change_activity,
            ("delete", "activity"): self._delete_activity,
            ("create", "activity_type"): self._create_type,
            ("disable", "activity_type"): self._disable_type,
            ("create", "opportunity"): self._create_opportunity,
            ("create", "field"): self._create_field,
            ("change", "field"): self._change_field,
            ("delete", "field"): self._delete_field,
            ("delete", "webhook"): self._delete_hook,
            ("revoke", "key"): self._revoke,
        }

    def carry_out(self, body: Json) -> Json:
        """Raises controls.Refused."""
        return carry_out(self._known, body, Refused)

    def _create_person(self, _: object, values: Json) -> Json:
        return showing.row(self._account, people.create(self._account, _PERSON_AT_WORK, values))

    def _change_person(self, number: object, values: Json) -> Json:
        return showing.row(self._account, people.change(self._account, _PERSON_AT_WORK, number_of(number), values))

    def _delete_person(self, number: object, _: Json) -> Json:
        return people.delete(self._account, _PERSON_AT_WORK, number_of(number))

    def _merge(self, number: object, values: Json) -> Json:
        into = people.merge(self._account, _PERSON_AT_WORK, number_of(number), number_of(values.get("into")))
        return showing.row(self._account, into)

    def _create_lead(self, _: object, values: Json) -> Json:
        return showing.row(self._account, leads.create(self._account, _PERSON_AT_WORK, values))

    def _change_lead(self, number: object, values: Json) -> Json:
        return showing.row(self._account, leads.change(self._account, _PERSON_AT_WORK, number_of(number), values))

    def _delete_lead(self, number: object, _: Json) -> Json:
        return leads.delete(self._account, _PERSON_AT_WORK, number_of(number))

    def _convert(self, number: object, values: Json) -> Json:
        """`values` are the `details` of the call: person, company and opportunity, each with a name."""
        return people_calls.converted(self._account, _PERSON_AT_WORK, number_of(number), {"details": values})

    def _log(self, _: object, values: Json) -> Json:
        return showing.activity(activities.create(self._account, _PERSON_AT_WORK, values))

    def _change_activity(self, number: object, values: Json) -> Json:
        return showing.activity(activities.edit(self._account, _PERSON_AT_WORK, number_of(number), values))

    def _delete_activity(self, number: object, _: Json) -> Json:
        return activities.remove(self._account, _PERSON_AT_WORK, number_of(number))

    def _create_type(self, _: object, values: Json) -> Json:
        kind = activity_types.make(self._account, values)
        return {"id": kind.id, "category": kind.category, "name": kind.name}

    def _disable_type(self, number: object, _: Json) -> Json:
        return activity_types.disable(self._account, number_of(number))

    def _create_opportunity(self, _: object, values: Json) -> Json:
        """`name`, and `primary_contact_id` of a person who is there."""
        contact = people.known(self._account, _PERSON_AT_WORK, number_of(values.get("primary_contact_id")))
        made = self._account.opportunity(str(values.get("name") or contact.name), contact)
        return {"id": made.id, "name": made.name, "primary_contact_id": contact.id}

    def _create_field(self, _: object, values: Json) -> Json:
        return definitions.shown(definitions.make(self._account, values))

    def _change_field(self, number: object, values: Json) -> Json:
        return definitions.shown(definitions.edit(self._account, self._field(number), values))

    def _delete_field(self, number: object, _: Json) -> Json:
        return definitions.remove(self._account, self._field(number))

    def _field(self, number: object) -> Definition:
        found = self._account.definitions.get(number_of(number))
        if found is None:
            raise controls.Refused("there is no such custom field")
        return found

    def _delete_hook(self, number: object, _: Json) -> Json:
        if self._account.hooks.pop(number_of(number), None) is None:
            raise controls.Refused("there is no such webhook")
        return {"id": number}

    def _revoke(self, key: object, _: Json) -> Json:
        """The id is the key, or the access token."""
        self._access.revoke(str(key))
        return {"id": key}
