"""Who did not get the mail, and why, from the words of a notice: for the half of all notices that are for people only.

What mail systems have in common is asked, not who wrote the notice: the failed address stands alone in its line, or at
its start before a colon, or after a word such as `recipient`; what the server said follows, up to the next address.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from app.esp import verdict
from app.esp.bounce_parts import Headers, Parts

SURE = 3
"""A score from which an address stands where failed addresses stand."""
_LISTED, _ALONE, _NAMED, _MENTIONED = 5, 4, 2, 1
_MOST_LINES = 600
_LONGEST_LINE = 1000
_LONGEST_SAID = 2000
_LONGEST_LIST = 16_000
_MOST_FOUND = 200
_REACH = 4
"""How many lines after its heading a list of addresses may begin."""

ADDRESS = re.compile(
    r"(?<![\w.+%/-])"
    r"(\"[^\"\s]{1,64}\"|[\w.!#$%&'*+/=?^`{|}~-]{1,64})@((?:[\w-]{1,63}\.){0,10}[\w-]{1,63}|\[[\d.]{7,15}\])"
)
_MACHINE = re.compile(r"(?:post_?master|mailer-daemon|mail-?daemon|abuse|hostmaster|no-?reply)@", re.IGNORECASE)
_SKIPPED = re.compile(
    r"[\s>|*]*(?:from|sender|original sender|reply-to|return-path|message-?id|in-reply-to|references|cc|received|date"
    r"|sent|subject|delivered-to|x-[\w-]+|mail from|resent-\w+|errors-to|list-\w+|dkim-signature|return-receipt-to"
    r"|mime-version|authentication-results)\s*[:=]",
    re.IGNORECASE,
)
"""A field that names somebody else."""
_LABEL = re.compile(
    r"(?:recipients?|recipient\(s\)|rcpt to|rcpt|addressed to|delivered to|addressee|undeliverable(?: address| to)?"
    r"|error-for|unknown user|user|mailbox|account|destinataire|empf.nger|destinatario|inbox|failed|address|adresse"
    r"|e-?mail|final delivery userid|deliver(?:y|ed)? (?:your |the )?(?:message |mail )?(?:to|for)|recipient name"
    r"|user id|mail to|message to|to)"
    r"\W{0,12}(?:smtp[:=;])?(?:rfc822; ?)?[<\[\"'(]*$",
    re.IGNORECASE,
)
"""What stands right before a failed address."""
_HEADING = re.compile(
    r"following (?:recipient|address|user|mailbox|person|people|destination|e-?mail|account)|failed recipients"
    r"|(?:recipient|address|user)(?:s|es|\(s\)|\(es\))?(?: \w+){0,6} ?:$|had (?:delivery problems|permanent|transient)"
    r"|delivery notifications|folgende[nr]? (?:empf|adress)|destinataires? suivant|siguientes? (?:dest|direcc)"
    r"|seguintes? (?:dest|ender)",
    re.IGNORECASE,
)
"""A line after which the failed addresses stand."""
_CONTACT = re.compile(
    r"contact|question|assist|support|help|complain|unblock|delist|report (?:this|the|it)|inquir|forward|reply to"
    r"|administrator|post_?master|if you (?:think|believe|feel|have)|please (?:send|e-?mail|mail|write|call)"
    r"|message from|mail from|sent by|sender",
    re.IGNORECASE,
)
"""Words around the address of somebody to turn to."""
_ALIAS = re.compile(r"\((?:generated|expanded|redirected) from:? *<?", re.IGNORECASE)
_REPLY = re.compile(
    r"(?:^|said:|<<<|response (?:was|is)|reply:|error:|reason:|\(reason:|smtp;|rcpt to\W|code:?|->|returned:?)\W{0,6}"
    r"[245]\d\d[ -]|[45]\.\d{1,3}\.\d{1,3}\b|said:|responded|diagnostic|explanation|reason|error|^ *<<<",
    re.IGNORECASE,
)


@dataclass
class Found:
    """A failed address and what the notice says of it."""

    recipient: str
    score: int
    """How sure its place in the text makes us that it is a recipient: 1 mentioned to 5 listed."""
    said: list[str] = field(default_factory=list)
    alias: str | None = None
    """The address that the message was sent to, where the notice says that it leads to this one."""

    @property
    def mailed(self) -> str:
        """The address that was mailed."""
        return self.alias or self.recipient

    @property
    def diagnosis(self) -> str:
        """What was said, the server's replies first."""
        replies = [line for line in self.said if _REPLY.search(line)]
        return "\n".join([*replies, *(line for line in self.said if line not in replies)])[:_LONGEST_SAID]


def addresses(text: str) -> Iterator[str]:
    """Every e-mail address in a text, freed of quotes and of a gateway's prefix."""
    for match in ADDRESS.finditer(text[:_LONGEST_LIST]):
        local = match[1].strip("'")
        local = local[5:] if local.casefold().startswith("smtp=") else local
        if local:
            yield f"{local}@{match[2].strip('.-_')}"


def sent_to(parts: Parts) -> list[str]:
    """The recipients of the message that came back, in lower case, as its header names them."""
    return _in_fields(parts.original, "to", "cc", "x-original-to")


def ours(parts: Parts) -> set[str]:
    """Who the notice is from and to, and who sent what came back, in lower case: not those who missed it."""
    mine = ("from", "to", "sender", "reply-to", "delivered-to", "return-path", "x-original-to", "errors-to")
    return {*_in_fields(parts.headers, *mine), *_in_fields(parts.original, "from", "sender", "reply-to", "return-path")}


def _in_fields(headers: Headers, *names: str) -> list[str]:
    return [one.casefold() for name in names for value in headers.get(name, ()) for one in addresses(value)]


def failed(words: str, not_these: Collection[str], sent: Collection[str]) -> list[Found]:
    """The addresses that a notice says were not reached, in its order.

    `not_these` are `ours`, `sent` are `sent_to`: who mails himself is found all the same, if nobody else is.
    """
    likely = _likeliest(_all(words, not_these, sent), sent)
    if likely or not not_these:
        return likely
    return [one for one in _likeliest(_all(words, (), sent), sent) if one.score >= _ALONE]


def _all(words: str, not_these: Collection[str], sent: Collection[str]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    aliases: dict[str, Found] = {}
    current: Found | None = None
    quiet, since_heading = 0, _REACH
    for line in (line[:_LONGEST_LINE] for line in words.splitlines()[:_MOST_LINES]):
        if not line.strip():
            quiet += 1
            continue
        since_heading = 0 if _HEADING.search(line) else since_heading + 1
        address, score = _score(line, not_these, sent)
        if score >= SURE and 0 < since_heading <= _REACH:
            score, since_heading = _LISTED, 0
        known = found.get(address.casefold()) or aliases.get(address.casefold())
        if known:
            current = known
            current.score = max(current.score, score)
        elif score >= SURE or (score and not (current and current.score >= _ALONE)):
            current = found[address.casefold()] = Found(address, score)
        elif current and not current.alias and _ALIAS.search(line):
            current.alias = next(addresses(line), None)
            aliases[current.mailed.casefold()] = current
        elif quiet > 2:
            current = None
        quiet = 0
        if current:
            current.said.append(line.strip())
        if len(found) >= _MOST_FOUND:
            break
    return found


def _likeliest(found: dict[str, Found], sent: Collection[str]) -> list[Found]:
    people = {key: one for key, one in found.items() if not _MACHINE.match(key)} or found
    for key, one in people.items():
        one.score += 1 if key in sent else 0
    best = max((one.score for one in people.values()), default=0)
    return [one for one in people.values() if one.score == best or one.score >= _ALONE]


def _score(line: str, not_these: Collection[str], sent: Collection[str]) -> tuple[str, int]:
    """The address that a line is about, and how much its place says; nothing and 0 if it is about none."""
    if "@" not in line or _SKIPPED.match(line) or _ALIAS.match(line.strip()):
        return "", 0
    for match in ADDRESS.finditer(line):
        address = next(addresses(match[0]), "")
        if address and (address.casefold() in sent or address.casefold() not in not_these):
            return address, _place(line, match.start(), match.end())
    return "", 0


def _place(line: str, start: int, end: int) -> int:
    """How much the place of an address in its line makes it a failed one."""
    before, after = line[:start], line[end:]
    lead = before.strip(" \t<>[]()\"'*-=:;.,#|+0123456789")
    if not lead:
        return _ALONE if after.strip(" \t>])\"'.,;")[:1] in ("", ":", "(", "-", ".") else SURE
    if lead.casefold() in ("to", "an", "para", "pour"):
        return _NAMED
    if _LABEL.search(before):
        return _NAMED if _CONTACT.search(before) else SURE
    if _CONTACT.search(line):
        return 0
    return _NAMED if verdict.words_say(line) else _MENTIONED
