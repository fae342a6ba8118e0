"""Bounce mail in: what a raw message says of whom, and what becomes of it."""

from email.message import EmailMessage

import pytest

from tests.api.client import Api, Json, said

BODY = "Hello"


def notice(recipient: str, status: str, diagnostic: str, action: str = "failed") -> bytes:
    """A delivery report as RFC 3464 has it."""
    report = (
        "Reporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {diagnostic}\r\n"
    )
    return (
        "From: MAILER-DAEMON@mx.example.net\r\nTo: bounces@example.org\r\nSubject: Undelivered Mail\r\n"
        "Date: Mon, 04 May 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        f"--B\r\nContent-Type: text/plain\r\n\r\nYour mail to {recipient} did not arrive.\r\n"
        f"--B\r\nContent-Type: message/delivery-status\r\n\r\n{report}\r\n"
        "--B\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: <sent-1@example.org>\r\nTo: {recipient}\r\n\r\n--B--\r\n"
    ).encode()


UNKNOWN = notice("ada@example.com", "5.1.1", "550 5.1.1 no such user here")
FULL = notice("bo@example.com", "5.2.2", "552 5.2.2 mailbox full")


async def post(api: Api, body: bytes, kind: str = "message/rfc822", **query: str) -> Json:
    reply = await api.http.post("/v1/bounces", content=body, headers={"Content-Type": kind}, params=query)
    return said(reply, 200)


async def test_a_notice_is_answered_and_flags_the_address(api: Api) -> None:
    await api.post("/v1/contacts", {"email": "Ada@example.com"}, 201)

    [answer] = await post(api, UNKNOWN)

    assert ("ada@example.com", "hard", "5.1.1", "user_unknown", "sent-1@example.org", True) == tuple(
        answer[name] for name in ("recipient", "class", "status", "reason", "message_id", "stored")
    )
    contact = await api.contact("ada@example.com")
    assert (True, "hard", "bounce-mail") == (contact["bounced"], contact["bounce_status"], contact["bounced_by"])
    [event] = (await api.get("/v1/events"))["items"]
    assert ("email.bounced", "2026-05-04T10:00:00Z") == (event["type"], event["occurred_at"])
    assert {"bounce": "hard", "status": "5.1.1", "message_id": "sent-1@example.org"}.items() <= event[
        "properties"
    ].items()


async def test_an_mbox_is_read_whole_and_read_again_changes_nothing(api: Api) -> None:
    for name in ("ada", "bo"):
        await api.post("/v1/contacts", {"email": f"{name}@example.com"}, 201)
    mbox = b"".join(b"From MAILER-DAEMON Mon May  4 10:00:00 2026\n" + one + b"\n\n" for one in (UNKNOWN, FULL))

    for _ in range(2):
        answers = await post(api, mbox, "application/mbox")
        assert [("ada@example.com", "hard"), ("bo@example.com", "soft")] == [
            (one["recipient"], one["class"]) for one in answers
        ]
    assert 2 == await api.fetchval("SELECT count(*) FROM event")
    assert "soft" == (await api.contact("bo@example.com"))["bounce_status"]


async def test_of_strangers_nothing_is_stored_and_nothing_at_all_when_only_asked(api: Api) -> None:
    assert [False] == [one["stored"] for one in await post(api, UNKNOWN)]
    await api.post("/v1/contacts", {"email": "ada@example.com"}, 201)
    assert [False] == [one["stored"] for one in await post(api, UNKNOWN, store="false")]
    assert (0, 1) == (
        await api.fetchval("SELECT count(*) FROM event"),
        await api.fetchval("SELECT count(*) FROM contact"),
    )


async def test_ordinary_mail_says_nothing(api: Api) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ada@example.com", "me@example.org", "Lunch?"
    mail.set_content("At noon.")
    assert [] == await post(api, bytes(mail))


@pytest.mark.parametrize("body", [b"", b" \r\n", b"From a Mon May  4 10:00:00 2026\n\nx\n\n" * 1_001])
async def test_what_is_no_mail_or_too_much_is_refused(api: Api, body: bytes) -> None:
    reply = await api.http.post("/v1/bounces", content=body, headers={"Content-Type": "message/rfc822"})
    assert "invalid_input" == said(reply, 422)["code"]
