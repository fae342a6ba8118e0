import pytest

from app.esp.shapes import Notice, Unread
from app.esp.sparkpost import PROVIDER
from tests.esp.calls import AT, EPOCH, call, ids, in_json, refusal, without_ids

SAMPLE = {
    "type": "bounce",
    "bounce_class": "22",
    "event_id": "92356927693813856",
    "timestamp": str(EPOCH),
    "raw_rcpt_to": "Ana@Example.com",
    "rcpt_to": "ana@example.com",
    "message_id": "65832150921904138",
    "campaign_id": "spring",
    "rcpt_meta": {"lead_id": "77"},
    "rcpt_tags": ["north"],
    "error_code": "552",
    "raw_reason": "552 5.2.2 over quota",
    "ip_address": "192.0.2.9",
}
REFUSED = {"code": 552, "status": "5.2.2", "diagnostic": "552 5.2.2 over quota"}
ALWAYS = {
    "message_id": "65832150921904138",
    "campaign": "spring",
    "custom": {"lead_id": "77"},
    "tags": ["north"],
}


def batch(*events: dict[str, object]) -> list[object]:
    return [{"msys": {"message_event": SAMPLE | event}} for event in events]


@pytest.mark.parametrize(
    ("class_", "type_", "said"),
    [
        ("10", "email.bounced", {"bounce": "hard"}),
        ("30", "email.bounced", {"bounce": "hard"}),
        ("20", "email.bounced", {"bounce": "soft"}),
        ("22", "email.bounced", {"bounce": "soft"}),
        (22, "email.bounced", {"bounce": "soft"}),
        ("70", "email.bounced", {"bounce": "soft"}),
        ("25", "email.blocked", {"suppressed": True}),
        ("51", "email.blocked", {}),
        ("60", "email.auto_replied", {}),
        ("100", "email.auto_replied", {}),
        ("80", "email.subscribed", {}),
        ("90", "email.unsubscribed", {}),
    ],
)
@pytest.mark.parametrize("name", ["bounce", "out_of_band"])
def test_the_class_of_a_bounce_says_what_it_is(name: str, class_: object, type_: str, said: dict[str, object]) -> None:
    request = in_json(batch({"type": name, "bounce_class": class_}))

    expected = {"reason": str(class_), **REFUSED, **ALWAYS, **said}
    assert [Notice(type_, "Ana@Example.com", AT, None, expected)] == without_ids(PROVIDER.read(request))


@pytest.mark.parametrize(
    ("words", "type_", "bounce"),
    [
        ("550 5.1.1 no such user here", "email.bounced", "hard"),
        ("552 5.2.2 mailbox full", "email.bounced", "soft"),
        ("554 5.7.1 rejected as spam", "email.blocked", None),
        # It was given up: nobody tries again, whatever the server hoped.
        ("451 4.7.1 greylisted, try again later", "email.bounced", "soft"),
        ("", "email.bounced", "soft"),
    ],
)
def test_an_undetermined_bounce_is_judged_by_the_servers_words(words: str, type_: str, bounce: str | None) -> None:
    request = in_json(batch({"bounce_class": "1", "raw_reason": words, "error_code": None}))

    (said,) = PROVIDER.read(request)

    assert isinstance(said, Notice)
    assert (type_, bounce) == (said.type, said.properties.get("bounce"))


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("injection", "email.sent"),
        ("delivery", "email.delivered"),
        ("delay", "email.deferred"),
        ("policy_rejection", "email.blocked"),
        ("generation_rejection", "email.blocked"),
        ("generation_failure", "email.failed"),
        ("spam_complaint", "email.complained"),
        ("open", "email.opened"),
        ("amp_open", "email.opened"),
        ("click", "email.clicked"),
        ("amp_click", "email.clicked"),
        ("list_unsubscribe", "email.unsubscribed"),
        ("link_unsubscribe", "email.unsubscribed"),
    ],
)
def test_every_other_event_has_one_type(name: str, type_: str) -> None:
    (said,) = PROVIDER.read(in_json(batch({"type": name, "bounce_class": "21"})))

    assert isinstance(said, Notice)
    assert (type_, None) == (said.type, said.properties.get("bounce"))


def test_a_click_says_where_by_what_and_whether_a_machine_did_it() -> None:
    event = {
        "type": "click",
        "event_id": "1",
        "timestamp": "2024-05-06T07:08:09.000Z",
        "rcpt_to": "ana@example.com",
        "target_link_url": "https://example.com/pricing",
        "user_agent": "Mozilla/5.0",
        "ip_address": "192.0.2.1",
        "user_agent_parsed": {"is_prefetched": True, "is_proxy": False},
    }

    expected = {
        "url": "https://example.com/pricing",
        "user_agent": "Mozilla/5.0",
        "ip": "192.0.2.1",
        "machine": True,
    }
    said = PROVIDER.read(in_json([{"msys": {"track_event": event}}]))
    assert [Notice("email.clicked", "ana@example.com", AT, None, expected)] == without_ids(said)


def test_pings_initial_openings_and_mail_that_came_in_are_left_out() -> None:
    said = PROVIDER.read(
        in_json(
            [
                {"msys": {}},
                *batch({"type": "initial_open"}, {"type": "amp_initial_open"}),
                {"msys": {"relay_message": {"rcpt_to": "in@example.com"}}},
            ]
        )
    )

    assert [] == said


def test_what_cannot_be_read_spoils_nothing_beside_it() -> None:
    said = PROVIDER.read(
        in_json(
            [
                *batch({"type": "telepathy"}),
                *batch({"raw_rcpt_to": None, "rcpt_to": 7.5} | {"rcpt_to": ""}),
                {"msys": []},
                {"msys": {"message_event": "x"}},
                "x",
                *batch({"type": "open"}),
            ]
        )
    )

    assert [
        Unread("/0/msys/type", "an event that is not known: 'telepathy'"),
        Unread("/1/msys/raw_rcpt_to", "the address is missing"),
        Unread("/2/msys", "expected an object"),
        Unread("/3/msys/type", "the event's name is missing"),
        Unread("/4", "expected an object"),
    ] == said[:-1]
    assert isinstance(said[-1], Notice)


def test_one_event_may_come_without_a_list_and_its_id_does_not_change() -> None:
    (single,) = batch({})

    assert ids(PROVIDER.read(in_json(single))) == ids(PROVIDER.read(in_json([single])))


def test_samples_that_share_an_id_are_several_events() -> None:
    said = PROVIDER.read(in_json(batch({}, {"type": "open"}, {"raw_rcpt_to": "bob@example.com"}, {})))

    first, second, third, fourth = ids(said)
    assert 3 == len({first, second, third})
    assert first == fourth


async def test_nothing_is_signed() -> None:
    assert await refusal(PROVIDER, call(b"")) is None
