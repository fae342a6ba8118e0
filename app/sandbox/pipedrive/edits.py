"""What somebody who works in Pipedrive does, for `POST /_sandbox/edit`; its `change_source` is `app`."""

from app.sandbox import controls
from app.sandbox.edits import Act, carry_out, number_of
from app.sandbox.pipedrive import activities, fields, leads, persons, showing
from app.sandbox.pipedrive.company import Company
from app.sandbox.pipedrive.wire import Author, Json, Refused

_PERSON_AT_WORK = Author(7, "app")


class Edits:
    """By what is done and to what."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._known: dict[tuple[str, str], Act] = {
            ("create", "person"): self._create_person,
            ("change", "person"): self._change_person,
            ("delete", "person"): self._delete_person,
            ("merge", "person"): self._merge,
            ("create", "activity"): self._log,
            ("change", "activity"): self._change_activity,
            ("delete", "activity"): self._delete_activity,
            ("create", "lead"): self._create_lead,
            ("change", "lead"): self._change_lead,
            ("delete", "lead"): self._delete_lead,
            ("convert", "lead"): self._convert,
            ("create", "field"): self._create_field,
            ("delete", "field"): self._delete_field,
            ("create", "filter"): self._create_filter,
            ("delete", "webhook"): self._delete_hook,
        }

    def carry_out(self, body: Json) -> Json:
        """Raises controls.Refused."""
        return carry_out(self._known, body, Refused)

    def _create_person(self, _: object, values: Json) -> Json:
        wish = values.pop("marketing_status", None)
        person = persons.create(self._company, values, _PERSON_AT_WORK)
        return self._change_person(person.id, {} if wish is None else {"marketing_status": wish})

    def _change_person(self, number: object, values: Json) -> Json:
        # In Pipedrive there are more statuses than the API takes, and any may follow any.
        wish = values.pop("marketing_status", None)
        if not isinstance(wish, str | None):
            raise controls.Refused("marketing_status is a text")
        person = persons.change(self._company, number_of(number), values, _PERSON_AT_WORK, wish)
        asked = showing.View(showing.custom_fields(self._company), ("marketing_status",))
        return showing.person(self._company, person, asked)

    def _delete_person(self, number: object, _: Json) -> Json:
        return {"id": persons.delete(self._company, number_of(number), _PERSON_AT_WORK).id}

    def _merge(self, number: object, values: Json) -> Json:
        into = persons.merge(self._company, number_of(number), number_of(values.get("merge_with_id")), _PERSON_AT_WORK)
        return showing.first_version(self._company, into)

    def _log(self, _: object, values: Json) -> Json:
        return activities.shown(activities.create(self._company, values, _PERSON_AT_WORK))

    def _change_activity(self, number: object, values: Json) -> Json:
        return activities.shown(activities.edit(self._company, number_of(number), values, _PERSON_AT_WORK))

    def _delete_activity(self, number: object, _: Json) -> Json:
        return {"id": activities.remove(self._company, number_of(number), _PERSON_AT_WORK).id}

    def _create_lead(self, _: object, values: Json) -> Json:
        return leads.shown(self._company, leads.create(self._company, values, _PERSON_AT_WORK))

    def _change_lead(self, number: object, values: Json) -> Json:
        return leads.shown(self._company, leads.edit(self._company, str(number), values, _PERSON_AT_WORK))

    def _delete_lead(self, number: object, _: Json) -> Json:
        return {"id": leads.remove(self._company, str(number), _PERSON_AT_WORK).id}

    def _convert(self, number: object, _: Json) -> Json:
        lead = self._company.leads.get(str(number))
        if lead is None:
            raise controls.Refused("there is no such lead")
        return self._company.conversions[leads.become_deal(self._company, lead, _PERSON_AT_WORK)]

    def _create_field(self, _: object, values: Json) -> Json:
        """`values` as `POST /api/v2/personFields` takes them; `entity` is person (as without it) or deal."""
        entity = "deal" if values.get("entity") == "deal" else "person"
        asked = [values.get(name) for name in ("field_name", "field_type", "options")]
        return fields.shown(fields.make(self._company, entity, *asked))

    def _delete_field(self, code: object, _: Json) -> Json:
        for known in self._company.fields.values():
            field = known.get(str(code))
            if field is not None and field.is_custom:
                del known[field.code]
                return fields.shown(field)
        raise controls.Refused("there is no such custom field")

    def _create_filter(self, _: object, values: Json) -> Json:
        """A filter of persons who have exactly these values, by the names of the second version or by field code."""
        number = self._company.next_id("filter")
        self._company.filters[number] = values
        return {"id": number}

    def _delete_hook(self, number: object, _: Json) -> Json:
        if self._company.hooks.pop(number_of(number), None) is None:
            raise controls.Refused("there is no such webhook")
        return {"id": number}
