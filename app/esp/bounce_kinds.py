"""What sort of mail this is: a notice of something undelivered, a machine's answer for a person, or ordinary mail.

By header where headers tell (RFC 3834, RFC 6522), by subject and words otherwise, in the languages that machines use.
"""

import re

from app.esp import bounce_text, verdict
from app.esp.bounce_parts import Parts

_DAEMON = re.compile(
    r"mailer-?daemon|mail-?daemon|post_?master|mail delivery|mdaemon|mail administrator|system administrator"
    r"|mail system|delivery (?:sub)?system|microsoft exchange|bounce|mailsystem|maildelivery|<>|^$",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"undeliver|deliver\w* (?:has )?(?:fail|status|problem|error|delay|notif|report|incident|unsuccess|was)"
    r"|fail\w* (?:notice|mail|to deliver|delivery)|returned (?:mail|message|to sender)|return to sender"
    r"|(?:mail|message) (?:delivery|could not|not delivered|returned|system error|error|bounced|failure|rejected)"
    r"|could ?n[o']t (?:be )?(?:deliver|sent|send)|can ?not be delivered|non-?deliver|not delivered"
    r"|unknown (?:user|recipient)|user unknown|warning: (?:could|message)|error sending"
    r"|unzustellbar|zustellung|nicht zugestellt|non remis|non distribu|chec de|echec"
    r"|no se (?:pudo|ha podido)|no entregad|error de entrega|n[aã]o entregue|falha na entrega"
    r"|mancata consegna|niet bezorgd|onbestelbaar|niedostarcz"
    r"|не доставлен|недоставлен|退信|退件|投递失败|无法投递|無法投遞|系统退|送信でき|配達できま|전송 실패|반송",
    re.IGNORECASE,
)
_TROUBLE = re.compile(r"delayed|bounce|rejected:|blocked by|fallo|falha|zwrot|配信|配達|エラー", re.IGNORECASE)
"""What people write about as well: it counts in a subject of its own, not in an answer."""
_DELAY = re.compile(
    r"delay|warning: (?:could not send|message)|verz.ger|still being retried|not yet delivered", re.IGNORECASE
)
_GIVEN_UP = re.compile(r"permanent(?:ly)? (?:error|fail|fatal)|failed permanently|given up|giving up", re.IGNORECASE)
_AUTOMATIC = re.compile(
    r"out[ -]of[ -](?:the[ -])?office|auto(?:matic|mated)?[ -]?(?:reply|response|respond|replied)|auto:|autoresponder"
    r"|abwesenheitsnotiz|automatische antwort|r.ponse automatique|respuesta autom|resposta autom|risposta automatica"
    r"|automatische? antwoord|autoodpowied|автоответ|自动回复|自動回覆|自动答复|自動返信|자동 응답",
    re.IGNORECASE,
)
"""A subject that only machines write."""
_AWAY = re.compile(
    r"vacation|away|on (?:leave|holiday)|maternity|annual leave|abwesen|nicht im b.ro|urlaub|absence|absent"
    r"|hors du bureau|fuera de (?:la )?oficina|aus.ncia|fora do escrit|fuori ufficio|afwezig|poza biurem"
    r"|отпуск|не в офисе|不在|부재",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\s*(?:re|aw|sv|vs|odp|antw?|r|fwd?|wg|tr|rv|回复|答复|转发)\s*[:：]", re.IGNORECASE)
_CHALLENGE = re.compile(
    r"confirm (?:your (?:message|mail|e-?mail)|that you|delivery)|requires (?:your )?(?:confirmation|verification)"
    r"|verify (?:that you|your (?:e-?mail|address|message)|you are)|tmda|spam ?arrest|boxbe|spamblocker|guest list"
    r"|click (?:on )?the link below to (?:be added|confirm|verify)|approved senders?|waiting for (?:your )?verification"
    r"|prove (?:that )?you are|sender authentication|one-?time (?:confirm|authentic)",
    re.IGNORECASE,
)
_ANSWERING = {"x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response-from"}
_CHALLENGERS = ("x-bluebottle", "x-boxbe", "x-spamarrest", "x-tmda")
_REPORTS = ("delivery-status", "feedback-report", "disposition-notification")
_LONGEST_SAID = 4000


def is_other_report(parts: Parts) -> bool:
    """Whether the message is a report about something else than mail to a person, such as TLS (RFC 8460)."""
    return bool(parts.report_type) and not parts.report_type.endswith(_REPORTS)


def is_report(parts: Parts) -> bool:
    """Whether the message is a notice by its very form."""
    return bool(parts.media_type == "multipart/report" or parts.recipients or "x-failed-recipients" in parts.headers)


def is_answer(parts: Parts) -> bool:
    """Whether a machine answers for a person who got the mail."""
    subject = parts.first("subject")
    if is_report(parts):
        return False
    if _AUTOMATIC.search(subject) or _ANSWERING & set(parts.headers):
        return True
    if _says_failed(subject) or _DAEMON.search(parts.first("from")):
        return False
    if parts.first("auto-submitted").casefold().startswith("auto-replied"):
        return True
    return _is_by_machine(parts) and (bool(_AWAY.search(subject)) or not verdict.words_say(parts.words))


def is_challenge(parts: Parts) -> bool:
    """Whether a machine that took the mail wants the sender to prove to be a person before it hands it over."""
    if any(name.startswith(_CHALLENGERS) for name in parts.headers):
        return True
    if not (_is_by_machine(parts) or is_report(parts)) or (is_report(parts) and _DAEMON.search(parts.first("from"))):
        return False
    subject = parts.first("subject")
    return bool(_CHALLENGE.search(f"{subject}\n{parts.words[:_LONGEST_SAID]}")) and not _AUTOMATIC.search(subject)


def is_notice(parts: Parts) -> bool:
    """Whether the message may say that something was not delivered."""
    sender = f"{parts.first('from')} {parts.first('sender')}".strip()
    if is_report(parts) or _DAEMON.search(sender) or _says_failed(parts.first("subject")):
        return True
    return _has_no_sender(parts) or _reads_like_one(parts)


def is_delay(parts: Parts) -> bool:
    """Whether the notice only warns, and the server goes on trying."""
    if _GIVEN_UP.search(parts.words):
        return False
    subject = parts.first("subject")
    return verdict.is_retrying(parts.words) or bool(_DELAY.search(subject) and "fail" not in subject.casefold())


def _says_failed(subject: str) -> bool:
    return bool(_FAILURE.search(subject) or (_TROUBLE.search(subject) and not _ANSWER.match(subject)))


def _has_no_sender(parts: Parts) -> bool:
    return "<>" in parts.headers.get("return-path", ())


def _is_by_machine(parts: Parts) -> bool:
    return (
        _has_no_sender(parts)
        or parts.first("auto-submitted").casefold().startswith("auto")
        or parts.first("precedence").casefold() in ("auto_reply", "bulk", "junk")
    )


def _reads_like_one(parts: Parts) -> bool:
    """Mobile carriers return a message under a person's subject, from an address of their own."""
    if not parts.is_returned or verdict.words_say(parts.words) not in ("user_unknown", "mailbox_full", "suspended"):
        return False
    sent = bounce_text.sent_to(parts)
    return any(
        one.recipient.casefold() in sent for one in bounce_text.failed(parts.words, bounce_text.ours(parts), sent)
    )
