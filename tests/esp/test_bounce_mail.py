import mailbox
import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.esp import bounce_folders, bounce_mail
from app.esp.bounce_mail import Bounced, read

NOTICES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "bounces").glob("*.eml"))}
"""Composed by hand in the shapes that mail systems use; nobody in them lives."""

SAID = {
    # delivery status
    "postfix_two_recipients": "ada@one.example hard user_unknown, bob@two.example soft mailbox_full",
    "postfix_delayed": "ada@one.example deferred expired",
    "mixed_fates": "ada+lists@one.example hard user_unknown, bob@two.example deferred mailbox_full,"
    " cem@three.example delivered delivered, dot@four.example delivered delivered, eve@five.example blocked reputation",
    "gmail_html": "ada@one.example hard user_unknown",
    "exchange_2010": "ada@corp.example hard user_unknown",
    "exchange_online_unlisted": "ada@corp.example hard user_unknown",
    "exchange_online_spf": "ada@corp.example blocked auth",
    "domino": "ada@corp.example hard user_unknown",
    "carrier_docomo": "ada..lovelace.@carrier.example hard user_unknown",
    "x400_gateway": "ada@corp.example hard user_unknown",
    "internationalised": "jürgen@bücher.example hard user_unknown",
    "no_boundary": "ada@one.example hard user_unknown",
    "nested": "ada@one.example hard user_unknown, bob@two.example soft mailbox_full",
    # a status that is not to be believed
    "french_provider": "ada@mail.example soft mailbox_full",
    "spam_filter": "ada@one.example blocked reputation",
    "dmarc": "ada@one.example blocked auth",
    "relay_denied": "ada@one.example blocked relay",
    "null_mx": "ada@nomail.example hard no_mail",
    "dns_trouble": "ada@one.example soft network",
    "words_help_a_bare_status": "ada@one.example hard user_unknown",
    "refused_after_data": "ada@one.example soft filtered",
    # for people only
    "sendmail": "ada@one.example hard user_unknown",
    "sendmail_5": "ada@nowhere.example hard host_unknown",
    "qmail": "ada@one.example hard user_unknown, bob@two.example blocked spam, cem@three.example soft mailbox_full",
    "exim": "ada@one.example hard user_unknown, bob@two.example soft too_big",
    "exim_alias": "ada@one.example hard host_unknown",
    "exim_warning": "ada@one.example deferred expired",
    "gmail_plain": "ada@one.example hard user_unknown",
    "exchange_2003": "ada@mail.corp.example hard user_unknown",
    "notes_japanese": "ada@corp.example hard user_unknown",
    "groupwise": "ada@corp.example hard user_unknown",
    "carrier_kddi": "ada@carrier.example soft mailbox_full",
    "carrier_text_message": "5550100123@text.example hard user_unknown",
    "yahoo": "ada@yahoo.example hard user_unknown, bob@yahoo.example soft suspended",
    "gmx_german": "ada@mail.example hard user_unknown, bob@mail.example soft mailbox_full",
    "chinese_provider": "ada@mail.example hard user_unknown",
    "russian_provider": "ada@mail.example soft mailbox_full, bob@mail.example hard user_unknown",
    "spanish_provider": "ada@mail.example hard user_unknown, bob@mail.example soft mailbox_full",
    "portuguese_provider": "ada@mail.example hard user_unknown",
    "reason_before_recipients": "ada@corp.example hard user_unknown",
    "html_only": "ada@mail.example soft mailbox_full",
    "only_the_return_address_tells": "ada@corp.example hard user_unknown",
    # reports and answers
    "arf_abuse": "ada@mail.example complaint abuse",
    "arf_opt_out": "ada@mail.example unsubscribe opt-out",
    "arf_not_spam": "ada@mail.example none not-spam",
    "arf_authentication": "ada@mail.example none auth-failure",
    "arf_without_address": "ada@mail.example complaint abuse",
    "junk_mail_reporting": "ada@hotmail.example complaint abuse",
    "vacation": "ada@corp.example auto_reply vacation",
    "vacation_german": "ada@corp.example auto_reply vacation",
    "challenge": "ada@corp.example auto_reply challenge",
    "read_receipt": "ada@corp.example delivered read",
    "refused_by_receipt": "ada@corp.example soft mailbox_full",
    "person": "",
}


def said(found: list[Bounced]) -> str:
    return ", ".join(f"{one.recipient} {one.class_} {one.reason}" for one in found)


def only(name: str) -> Bounced:
    [one] = read(NOTICES[name])
    return one


def notice(body: str, *, to: str = "news@shop.example", subject: str = "failure notice") -> bytes:
    return f"From: MAILER-DAEMON@mx.example\nTo: {to}\nSubject: {subject}\n\n{body}\n".encode()


def report(*recipients: str, words: str = "Sorry.") -> bytes:
    blocks = "\n\n".join(["Reporting-MTA: dns; mx.example", *recipients])
    head = 'Content-Type: multipart/report; report-type=delivery-status; boundary="b"'
    parts = f"--b\n\n{words}\n--b\nContent-Type: message/delivery-status\n\n{blocks}\n--b--\n"
    return f"From: MAILER-DAEMON@mx.example\nTo: news@shop.example\n{head}\n\n{parts}".encode()


# --- notices ----------------------------------------------------------------------------------------------------------


def test_each_notice_has_its_meaning() -> None:
    assert set(NOTICES) == set(SAID)


@pytest.mark.parametrize(("name", "meaning"), SAID.items())
def test_a_notice_is_understood(name: str, meaning: str) -> None:
    assert meaning == said(read(NOTICES[name]))


@pytest.mark.parametrize(
    "changed",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r"),
        lambda raw: b"\n\n" + raw,
        lambda raw: b"From MAILER-DAEMON Tue Mar  4 09:30:00 2025\n" + raw,
    ],
    ids=["crlf", "cr", "blank lines", "mbox"],
)
def test_a_notice_means_the_same_however_its_lines_end(changed: Callable[[bytes], bytes]) -> None:
    meanings = {name: said(read(changed(raw))) for name, raw in NOTICES.items()}

    assert meanings == SAID


def test_a_notice_tells_status_words_message_and_date() -> None:
    one = read(NOTICES["postfix_two_recipients"])[0]

    assert (
        Bounced(
            recipient="ada@one.example",
            class_="hard",
            status="5.1.1",
            reason="user_unknown",
            diagnostic="550 5.1.1 <ada@one.example>: Recipient address rejected: User unknown in local recipient table",
            message_id="spring.1@shop.example",
            occurred_at=datetime(2025, 3, 4, 8, 30, tzinfo=UTC),
        )
        == one
    )


def test_words_for_people_tell_as_much() -> None:
    bob = read(NOTICES["qmail"])[1]

    assert ("5.7.1", "spring.1@shop.example") == (bob.status, bob.message_id)
    assert "Remote host said: 554 5.7.1 Message rejected as spam" in bob.diagnostic
    assert "ada@one.example" not in bob.diagnostic


@pytest.mark.parametrize(
    ("name", "message_id"),
    [("sendmail", "spring.1@shop.example"), ("read_receipt", "spring.1@shop.example"), ("html_only", None)],
)
def test_the_message_is_named_if_anything_of_it_came_back(name: str, message_id: str | None) -> None:
    assert message_id == only(name).message_id


@pytest.mark.parametrize(
    ("date", "occurred_at"),
    [
        ("Tue, 04 Mar 2025 09:30:00 +0100", datetime(2025, 3, 4, 8, 30, tzinfo=UTC)),
        ("4 Mar 2025 09:30:00 -0000", datetime(2025, 3, 4, 9, 30, tzinfo=UTC)),
        ("Tue, 04 Mar 2025 09:30:00 PST (Los Angeles)", datetime(2025, 3, 4, 17, 30, tzinfo=UTC)),
        ("Tue, 99 Mar 2025 09:30:00 +0100", None),
        ("Tue, 04 Mar 2025 09:30:00 +9999999", None),
        ("31 Dec 9999 23:00:00 -1200", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_date_is_the_notices_own_in_utc(date: str, occurred_at: datetime | None) -> None:
    [one] = read(f"Date: {date}\n".encode() + notice("<ada@one.example>: user unknown"))

    assert occurred_at == one.occurred_at


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("smtp; 550 no; not you", "550 no; not you"),
        ("X-Postfix; unknown user", "unknown user"),
        ("It was us; we stopped", "It was us; we stopped"),
    ],
)
def test_a_diagnostic_is_told_without_its_type(code: str, words: str) -> None:
    [one] = read(report(f"Final-Recipient: rfc822; ada@one.example\nAction: failed\nDiagnostic-Code: {code}"))

    assert words == one.diagnostic


def test_a_recipient_reported_twice_is_there_once_with_the_worst() -> None:
    delayed = "Final-Recipient: rfc822; Ada@one.example\nAction: delayed\nStatus: 4.4.1"
    failed = "Final-Recipient: rfc822; ada@ONE.example\nAction: failed\nStatus: 5.1.1"

    assert "ada@ONE.example hard user_unknown" == said(read(report(delayed, failed)))


def test_recipients_without_a_blank_line_between_them_are_two() -> None:
    both = "Final-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1\n"
    both += "Final-Recipient: rfc822; b@x.example\nAction: failed\nStatus: 5.2.2"

    assert "a@x.example hard user_unknown, b@x.example soft mailbox_full" == said(read(report(both)))


@pytest.mark.parametrize(
    ("field", "recipient"),
    [
        ("Final-Recipient: rfc822;ada@one.example", "ada@one.example"),
        ("Final-Recipient: <ada@one.example>", "ada@one.example"),
        ('Final-Recipient: rfc822; "ada..l"@one.example', '"ada..l"@one.example'),
        ("Final-Recipient: utf-8; j\\x{FC}rgen@one.example", "jürgen@one.example"),
        ("Final-Recipient: rfc822; ada@[192.0.2.7]", "ada@[192.0.2.7]"),
        ("Final-Recipient: rfc822; ada@#one.example", "ada@#one.example"),
        ("Final-Recipient: x400; /S=ada/\nX-Actual-Recipient: rfc822; ada@one.example", "ada@one.example"),
        ("Original-Recipient: rfc822;\nFinal-Recipient: rfc822; ada@one.example", "ada@one.example"),
    ],
)
def test_a_recipient_is_read_however_it_is_written(field: str, recipient: str) -> None:
    [one] = read(report(f"{field}\nAction: failed\nStatus: 5.1.1"))

    assert recipient == one.recipient


@pytest.mark.parametrize(
    "listing",
    [
        "<ada@one.example>:\n550 user unknown",
        "ada@one.example: 550 user unknown",
        "  ada@one.example\n    550 user unknown",
        "  * ada@one.example\n550 user unknown",
        "RCPT TO:<ada@one.example>\n550 user unknown",
        "Recipient: [SMTP:ada@one.example]\nuser unknown",
        "Undeliverable address: ada@one.example (user unknown)",
        "Unknown user: ada@one.example",
        "550 <ada@one.example>... User unknown",
        "Your message to ada@one.example was not delivered: unknown user.",
        "user unknown\n\nThe following recipients were affected:\n\n\tada@one.example\n",
        "c=US;a= ;p=Corp;dda:SMTP=ada@one.example; on Tue, 4 Mar\n    Unknown Recipient",
    ],
)
def test_a_failed_address_is_found_where_mail_systems_put_it(listing: str) -> None:
    asides = "Message from postmaster@mx.example to news@shop.example. Questions? Contact help@mx.example.\n\n"

    assert "ada@one.example hard user_unknown" == said(read(notice(asides + listing)))


def test_whoever_mails_himself_gets_his_own_bounce() -> None:
    assert "ada@one.example soft mailbox_full" == said(read(notice("<ada@one.example>:\nquota", to="ada@one.example")))


def test_an_old_systems_notice_is_known_to_the_library() -> None:
    words = "Your mail to the following recipients could not be delivered because they take none:\n\tscreenname\n"
    raw = notice(words, subject="Mail Delivery Problem").replace(b"MAILER-DAEMON@mx.example", b"MAILER-DAEMON@AOL.com")

    assert ["screenname@aol.com"] == [one.recipient.lower() for one in read(raw)]


# --- what is no notice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"Ni!",
        b"From: ada@one.example\nTo: bob@two.example\nSubject: Lunch?\n\nNoon at carl@three.example's?\n",
        b"From: ada@one.example\nSubject: Re: mailbox full\n\nMy mailbox was full. Mail me at ada@two.example.\n",
        b"From: ada@one.example\nSubject: Re: delayed order\n\nWrite to my colleague. E-mail: bob@one.example\n",
        b"From: ada@one.example\nSubject: Re: Urlaub in Kent\n\nPlease confirm your booking with bob@one.example.\n",
        b"From: a@b.c\nSubject: Re: x\n\nNo longer valid, use b@one.example.\n\n---Original Message---\nTo: a@b.c",
        b"From: x@y.z\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\n\n--b\n\nNo such user: a@b.c",
        notice("All is well."),
        report("Action: failed\nStatus: 5.1.1"),
    ],
)
def test_ordinary_mail_and_what_names_nobody_says_nothing(raw: bytes) -> None:
    assert [] == read(raw)


def test_a_notice_without_a_reason_is_no_dead_address() -> None:
    assert "ada@one.example soft unknown" == said(read(notice("Undeliverable to ada@one.example. Sorry.")))


# --- any bytes --------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(NOTICES.values())), st.data())
def test_no_damage_makes_a_notice_raise(raw: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(raw)))
    piece = data.draw(
        st.one_of(st.binary(max_size=8), st.sampled_from([b"=?x?B?a?=", b'boundary="', b"\r", b"*0*=", b"\0"]))
    )
    length = data.draw(st.integers(0, 200))
    found = read(raw[:place] + piece + raw[place + length :])

    for one in found:
        assert "@" in one.recipient
        assert len(one.recipient) <= 320
        assert all(text.isprintable() for text in one if isinstance(text, str))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert isinstance(read(raw), list)


HEAD = notice("").rstrip(b"\n") + b"\n"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(5000)),
        HEAD + b"Content-Type: message/rfc822\n\n" * 9000,
        HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 30_000,
        HEAD + b"\n<ada@one.example>: user unknown\n" + b"lorem ipsum\n" * 900_000,
        HEAD + b"\n" + b"x" * 10_000_000,
        HEAD + b"\n" + b"a@b.example " * 100_000,
        HEAD + b"\n" + b"".join(b"u%d@one.example\n" % n for n in range(20_000)),
        HEAD + b"\n" + b"@." * 150_000,
        HEAD + b"\n" + b"copy of the original message was\n" * 8000,
        HEAD + b"X: " + b"b " * 130_000 + b"\n\n",
        HEAD + b"Subject: " + b"=?utf-8?Q?a?= " * 20_000 + b"\n\n",
        HEAD + b"Cc: " + b"(((((," * 40_000 + b"\n\n",
        HEAD + b"Content-Type: text/html\n\n" + b"<" * 250_000,
        HEAD + b"Content-Type: text/html\n\n" + b"<style>" * 36_000,
        report(*(f"Final-Recipient: rfc822;u{n}@x.example\nAction: failed\nStatus: 5.1.1" for n in range(4000))),
    ],
    ids=[
        *(
            "nested parts",
            "nested messages",
            "many parts",
            "long body",
            "long line",
            "many addresses",
            "many recipients",
        ),
        *("no addresses", "separators", "long header", "encoded words", "comments", "tags", "styles", "long report"),
    ],
)
def test_no_message_takes_long(raw: bytes) -> None:
    started = time.process_time()

    assert len(read(raw)) <= 1000
    assert time.process_time() - started < 10, "some hundredths of a second to one second, in trials"


# --- many messages ----------------------------------------------------------------------------------------------------


def test_an_mbox_is_read_message_by_message(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "mbox")
    for name in ("qmail", "person", "yahoo"):
        box.add(NOTICES[name])
    box.add(b"Subject: failure notice\n\nFrom here on nothing came to\n\nFrom <ada@one.example>: user unknown\n")
    box.close()

    found = list(bounce_mail.read_mbox((tmp_path / "mbox").read_bytes()))

    assert ", ".join([SAID["qmail"], SAID["yahoo"], "ada@one.example hard user_unknown"]) == said(found)


def test_bytes_that_are_no_mbox_are_one_message() -> None:
    assert SAID["qmail"] == said(list(bounce_mail.read_mbox(NOTICES["qmail"])))
    assert [] == list(bounce_mail.read_mbox(b""))


def test_of_each_message_no_more_is_held_than_is_read() -> None:
    begins = b"From x Tue Mar  4 09:30:00 2025\n"
    long = NOTICES["qmail"] + b"lorem ipsum\n" * 100_000
    sizes = [len(one) for one in bounce_folders.split(BytesIO(begins + long + b"\n" + begins + long))]

    assert 2 == len(sizes)
    assert max(sizes) < 400_000
    assert max(len(one) for one in bounce_folders.split(BytesIO(long))) < 400_000


def test_a_maildir_a_directory_and_a_file_are_read(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "box")
    box.add(NOTICES["yahoo"])
    (tmp_path / "box" / "tmp" / "unfinished").write_bytes(NOTICES["qmail"])
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.eml").write_bytes(NOTICES["domino"])
    (plain / ".hidden").write_bytes(NOTICES["qmail"])
    two = b"From x Tue Mar  4 09:30:00 2025\n" + NOTICES["exim"] + b"\n"
    (plain / "b.mbox").write_bytes(two * 2)

    assert [SAID["yahoo"]] == [said(read(raw)) for _, raw in bounce_folders.in_path(tmp_path / "box")]
    assert [str(plain / "a.eml"), str(plain / "b.mbox"), f"{plain / 'b.mbox'}#2"] == [
        name for name, _ in bounce_folders.in_path(plain)
    ]
    with pytest.raises(FileNotFoundError):
        list(bounce_folders.in_path(tmp_path / "missing"))
