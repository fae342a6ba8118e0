import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.esp import bounce_hints, bounce_words, verdict
from app.esp.verdict import CLASSES, Verdict, judge

HARD = {reason for reason, kind in CLASSES.items() if kind == "hard"}


def reasons(lines: str) -> list[tuple[str, str]]:
    """From lines of a reason and what a server said."""
    return [tuple(line.strip().split(" ", 1)) for line in lines.strip().splitlines()]  # type: ignore[misc]  # two


@pytest.mark.parametrize(
    ("reason", "said"),
    reasons("""
    user_unknown 550 5.1.1 <ada@one.example>: Recipient address rejected: User unknown in relay recipient table
    user_unknown 550 5.7.1 no such user
    user_unknown 554 delivery error: dd This user doesn't have a one.example account (ada@one.example) [0]
    user_unknown 550 5.4.1 Recipient address rejected: Access denied. AS(201806281)
    user_unknown #550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##
    user_unknown 550 Requested action not taken: mailbox unavailable
    user_unknown X-Notes; User ada (ada@one.example) not listed in public Name & Address Book
    user_unknown 553 sorry, no mail-box here by that name (#5.7.1)
    user_unknown 550 Mailbox ( ada@one.example ) not found or inactivated
    user_unknown unknown local-part "ada" in domain "one.example"
    user_unknown 5.1.0 - Unknown address error 550-'No Such User Here' (delivery attempts: 0)
    user_unknown 550 Benutzer unbekannt
    user_unknown 550 L'adresse n'existe pas: utilisateur inconnu
    user_unknown 550 El usuario no existe
    user_unknown 550 Usuário desconhecido
    user_unknown 550 Utente sconosciuto
    user_unknown 550 Onbekende gebruiker
    user_unknown 550 Nie ma takiego użytkownika
    user_unknown 550 Пользователь не найден
    user_unknown 550 用户不存在
    user_unknown 宛先のメールアドレスが見つかりませんでした
    user_unknown 550 존재하지 않는 사용자입니다
    host_unknown 550 5.1.2 <ada@nowhere.example>... Host unknown (Name server: nowhere.example.: host not found)
    host_unknown 550 5.4.4 SMTPSEND.DNS.NonExistentDomain; nonexistent domain
    host_unknown DNS Error: Domain name not found
    host_unknown Unrouteable address
    no_mail 556 5.1.10 Recipient address has a null MX
    no_mail 550 5.1.2 <ada@one.example>... Host unknown (Name server: .: host not found)
    moved 551 5.1.6 User has moved; please try <ada@two.example>
    moved 550 address ada@one.example has been replaced by ada@two.example
    mailbox_full 552 5.2.2 Over quota
    mailbox_full 552 This message is larger than the current system limit or the recipient's mailbox is full
    mailbox_full 554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException
    mailbox_full 552 Das Postfach ist voll
    mailbox_full 552 La boîte aux lettres est pleine
    mailbox_full 552 Caixa postal cheia
    mailbox_full 552 Почтовый ящик переполнен
    mailbox_full 552 邮箱已满
    mailbox_full メールボックスがいっぱいです
    suspended 554 delivery error: dd This account has been disabled or discontinued [#102]
    suspended 550 5.2.1 The email account that you tried to reach is disabled
    suspended 550 User suspended
    suspended 550 账号被禁用
    too_big 552 5.3.4 Message size exceeds fixed limit
    too_big 550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient
    filtered 550 5.2.0 User reject the mail
    sender 553 5.1.8 Domain of sender address news@shop.example does not exist
    sender 550-Verification failed for <news@shop.example> 550-No Such User Here 550 Sender verify failed
    auth 550-5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy
    auth 550 5.7.23 The message was rejected because of Sender Policy Framework violation
    reverse_dns 450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]
    reputation 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.example
    reputation 550 5.2.1 Mailbox unavailable. Your IP address 192.0.2.1 is blacklisted
    reputation 550 5.7.1 messages from [192.0.2.1] were not sent: part of their network is on our block list
    rate 550 Too many invalid recipients
    rate 450 4.2.1 The user you are trying to contact is receiving mail too quickly
    relay 554 5.7.1 <ada@one.example>: Relay access denied
    relay 550 5.7.1 Unable to relay for ada@one.example
    policy 554 Email not accepted for policy reasons
    spam 554 5.7.1 We can't accept this message because it is spam
    virus 554 rejected due to virus
    content 550 5.7.1 This message is not RFC 5322 compliant. There are multiple Subject headers.
    suppressed 550 5.1.1 Address is on the suppression list for your account
    greylisted 451 4.7.1 Greylisting in action, please come back later
    network connect to one.example[192.0.2.7]:25: Connection refused
    network 450 4.4.3 Host or domain name not found. Name service error for name=one.example: Host not found, try again
    network 554 5.4.6 Hop count exceeded - possible mail loop
    expired 421 4.4.7 Delivery time expired
    expired delivery temporarily suspended: connect to one.example[192.0.2.7]:25: Operation timed out
    system_full 452 4.3.1 Insufficient system storage
    system 554 5.3.5 Local configuration error
    system Command died with status 75: "/usr/bin/procmail"
    unknown 550 Ni!
    """),
)
def test_what_a_server_says_gives_the_reason(reason: str, said: str) -> None:
    assert reason == judge(None, None, said).reason


@pytest.mark.parametrize(
    ("status", "code", "text", "expected"),
    [
        ("5.1.1", None, "", Verdict("hard", "user_unknown")),
        ("5.1.2", None, "", Verdict("hard", "host_unknown")),
        ("5.1.10", None, "", Verdict("hard", "no_mail")),
        ("5.2.2", None, "", Verdict("soft", "mailbox_full")),
        ("5.2.1", None, "", Verdict("soft", "suspended")),
        ("5.4.4", None, "", Verdict("hard", "host_unknown")),
        ("5.7.1", None, "", Verdict("blocked", "policy")),
        ("5.7.26", None, "", Verdict("blocked", "auth")),
        ("5.0.0", None, "", Verdict("soft", "unknown")),
        ("4.3.2", None, "", Verdict("soft", "system")),
        (None, 550, "", Verdict("soft", "unknown")),
        (None, 551, "", Verdict("blocked", "policy")),
        (None, 552, "", Verdict("soft", "mailbox_full")),
        (None, 554, "", Verdict("blocked", "policy")),
        (None, 556, "", Verdict("hard", "no_mail")),
        (None, 421, "", Verdict("soft", "system")),
        (None, None, "", Verdict("soft", "unknown")),
        ("nonsense", None, "", Verdict("soft", "unknown")),
        ("5.1.1 (bad destination mailbox)", None, "", Verdict("hard", "user_unknown")),
        (None, None, "smtp; 550 5.1.1 Ni!", Verdict("hard", "user_unknown")),
        (None, None, "see https://192.0.2.5.1.1/5.1.1.1", Verdict("soft", "unknown")),
    ],
)
def test_codes_judge_where_words_say_nothing(
    status: str | None, code: int | None, text: str, expected: Verdict
) -> None:
    assert expected == judge(status, code, text)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        ("5.1.1", "552 Recipient overquota", Verdict("soft", "mailbox_full")),
        ("5.1.1", "550 message rejected as spam", Verdict("blocked", "spam")),
        ("5.7.1", "550 user unknown", Verdict("hard", "user_unknown")),
        ("5.2.2", "550 no such user", Verdict("hard", "user_unknown")),
        ("5.1.1", "550 rejected", Verdict("hard", "user_unknown")),
        ("5.2.2", "550 access denied", Verdict("soft", "mailbox_full")),
        ("5.7.1", "550 connection refused", Verdict("soft", "network")),
        ("5.0.0", "550 5.1.1 rejected", Verdict("hard", "user_unknown")),
        ("5.1.1", "550 too many unknown users", Verdict("blocked", "rate")),
    ],
)
def test_clear_words_outweigh_a_status_and_a_telling_status_loose_words(
    status: str, text: str, expected: Verdict
) -> None:
    assert expected == judge(status, None, text)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        ("4.1.1", None, "user unknown"),
        (None, 450, "mailbox unavailable"),
        ("5.1.1", 450, "no such user"),
        (None, None, "450 4.1.2 Domain not found"),
    ],
)
def test_no_address_is_dead_while_the_server_says_for_now(status: str | None, code: int | None, text: str) -> None:
    verdict = judge(status, code, text)

    assert "soft" == verdict.kind
    assert verdict.reason in HARD


def test_the_servers_own_reply_outweighs_the_senders_guess_at_how_lasting_it_is() -> None:
    assert Verdict("hard", "user_unknown") == judge("4.4.7", 550, "user unknown")


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "Relayed ", "DELIVERED"])
def test_what_arrived_is_no_bounce_whatever_the_words(action: str) -> None:
    assert Verdict("none", "delivered") == judge("5.1.1", 550, "user unknown", action=action)


def test_a_good_status_is_no_bounce_but_one_in_the_text_is_not_believed() -> None:
    assert Verdict("none", "delivered") == judge("2.1.5", None, "user unknown")
    assert Verdict("hard", "user_unknown") == judge(None, None, "Mailer 2.1.5: 550 user unknown")


@pytest.mark.parametrize(
    ("status", "text", "action", "expected"),
    [
        ("4.4.1", "connection timed out", "delayed", Verdict("deferred", "expired")),
        ("5.1.1", "user unknown", "delayed", Verdict("deferred", "user_unknown")),
        ("4.2.0", "greylisted, come back", None, Verdict("deferred", "greylisted")),
        ("4.2.0", "greylisted for five days", "failed", Verdict("soft", "greylisted")),
        ("4.4.1", "connection refused; will retry", None, Verdict("deferred", "network")),
        ("4.4.1", "connection refused", None, Verdict("soft", "network")),
    ],
)
def test_what_is_tried_again_is_deferred(status: str, text: str, action: str | None, expected: Verdict) -> None:
    assert expected == judge(status, None, text, action=action)


def test_a_recipient_refused_after_the_message_was_taken_may_be_a_filters_work() -> None:
    assert "filtered" == judge("5.0.0", 550, "unknown user (in reply to end of DATA command)").reason
    assert "user_unknown" == judge("5.1.1", 550, "unknown user (in reply to end of DATA command)").reason


def test_names_of_hosts_and_people_are_not_read_as_words() -> None:
    said = "host spam-filter.mailbox-full.example said: 550 <quota.exceeded@virus.example> user unknown"

    assert Verdict("hard", "user_unknown") == judge(None, None, said)


def test_the_nearest_text_that_says_something_clear_decides() -> None:
    texts = ["550 5.0.0 rejected", "mailbox full", "user unknown"]

    assert Verdict("soft", "mailbox_full") == verdict.weigh(*verdict.codes(texts), texts)


@pytest.mark.parametrize("table", [bounce_words.STRONG, bounce_hints.WEAK, bounce_hints.LAST])
def test_every_phrase_is_heard_and_has_a_class(table: list[tuple[str, str]]) -> None:
    silent = [
        phrase
        for reason, phrases in table
        for phrase in phrases.split("|")
        if judge(None, None, phrase.replace("~", "").replace("*", "x")).reason == "unknown" or reason not in CLASSES
    ]

    assert [] == silent


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(st.none(), st.text(max_size=12), st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True)),
    st.one_of(st.none(), st.integers()),
    st.one_of(st.text(max_size=300), st.text("mailbox @*~.-|'5\n", max_size=300)),
    st.one_of(st.none(), st.text(max_size=12)),
)
def test_anything_is_judged(status: str | None, code: int | None, text: str, action: str | None) -> None:
    verdict = judge(status, code, text, action=action)

    assert verdict.reason in CLASSES or verdict == Verdict("none", "delivered")


@pytest.mark.parametrize("piece", ["mailbox ", "a-", "a.", "a@", "1.2.3.", "'", "é", "\u0307", "account account "])
def test_a_long_text_is_judged_by_its_beginning(piece: str) -> None:
    beginning = f"550 no such user {piece * 10}"

    assert judge(None, None, beginning) == judge(None, None, beginning + piece * 1_000_000)
