"""What mail servers say loosely when they refuse, as data in the form of `bounce_words`."""

WEAK: list[tuple[str, str]] = [
    (
        "user_unknown",
        """mailbox unavailable | mailbox unavaiable | mailbox is unavailable | mailbox not available
        | requested action not taken mailbox | mailbox @ unavailable | doesnt exist | not exist | nexiste pas
        | no existe | nao existe | non esiste | existiert nicht | nie istnieje | bestaat niet""",
    ),
    (
        "sender",
        """after mail from | mail from command | return path | from header | in reply to mail from""",
    ),
    (
        "content",
        """content * reject | content filter | content rejected | content denied | content is not acceptable
        | prohibited content | unacceptable content | objectionable | banned content | bad header | header error
        | malformed header | illegal attachment | not rfc | rfc 5322 | rfc 822 | rfc 2822 | rfc2822
        | duplicate header | noncompliant | line too long | lines too long | bare lf | bare linefeed | 8bit
        | eight bit | improperly formatted | message format | format not | invalid characters | non ascii
        | conversion | too many related | message content | message filtered | depth exceeded
        | headers in this message | multiple headers | attachments are | with attachment | attachment type
        | attachment not | mime type | content encoding | transfer encoding""",
    ),
    (
        "filtered",
        """user reject | user refuse | refuses to receive | refuse to receive | refused due to recipient
        | recipient preferences | user rules | blocked by the recipient | blocked by recipient
        | rejected by recipient | rejected by the recipient | recipient is only accepting | not accepting any mail
        | not accepting mail | isnt accepting mail | does not accept mail | doesnt accept mail | account is protected
        | restricted sms | not found recipient account | cannot route mail to user | recipients preferences
        | not accepting messages | not accept messages | does not want | doesnt want | refus * par le destinataire
        | vom empfanger abgelehnt | отклонен * получател | 拒收 | 受信拒否 | 受信を拒否""",
    ),
    (
        "system_full",
        """system full | disk full | insufficient disk | insufficient system resource | insufficient storage
        | no space left on device | not enough disk | not enough free space | out of disk | system storage""",
    ),
    (
        "expired",
        """expired | failed * attempts | timed out | timeout | time out | retry time | too long | giving up | gave up
        | have been failing | delayed | not yet been delivered | has not been delivered | could not be delivered for
        | maximum retr | multiple retries | retry limit | in the queue | queue period | queued for
        | not been collected | still being | not respond | failed to deliver to domain | unable to deliver * within
        | not delivered within | 超时 | 逾時 | タイムアウト | delivery attempts will | time limit specified""",
    ),
    (
        "network",
        """connection refused | connection reset | connection dropped | connection lost | lost connection
        | connection closed | could not connect | couldnt connect | cannot connect | unable to connect
        | network is unreachable | network unreachable | host unreachable | host is unreachable | host is down
        | host down | name lookup | lookup fail | name server | nameserver | dns | try again host | temporary lookup
        | unable to resolve | cannot resolve | too many hops | hop count | loop | wasnt able to establish
        | smtp connection | could not be reached | cannot be reached | not reachable | unable to reach
        | connection failed | failed to connect | socket | handshake | route | could not initiate smtp
        | did not accept our requests to connect | could not find a gateway""",
    ),
    (
        "system",
        """system error | configuration error | config error | misconfigured | internal error | local error
        | internal server error | local problem | service unavailable | service not available
        | temporarily unavailable | temporary failure | temporary problem | temporary error | try again later
        | try later | command rejected | syntax error | unrecognized command | command not | bad sequence
        | not implemented | mailer | pipe to | procmail | command died | exit status | command output | maintenance
        | shutting down | busy | queue file | cant create | couldnt create | cannot open | unable to open | io error
        | i o error | input output | error in processing | error while being processed | mdb | data format error
        | storedrv | shadow copy | out of memory | cannot allocate | can not open | can not create""",
    ),
    (
        "policy",
        """policy | policies | administrative prohibit | prohibited | not permitted | not authorized | unauthorized
        | not allowed | forbidden | authentication required | authentication failure | authentication failed
        | authentication is required | requires authentication | not authenticated | must authenticate
        | authentication turned on | credentials | starttls | encryption required | tls | certificate | security
        | members only | closed mailing list | not subscribed | non member | moderat | captcha | message refused
        | mail refused | refused by | organizational settings | block | restricted | restrictdomains | authrequired
        | protocol violation | nicht erlaubt | nicht gestattet | verweigert | abgelehnt | interdit | non autorise
        | rechazado | no permitido | rejeitad | nao permitido | rifiutat | отклонен | запрещ | отказано | 拒绝 | 拒絕
        | 禁止 | 拒否 | transaction failed | reject | denied | not accepted | not acceptable
        | bounced by administrator""",
    ),
    (
        "mailbox_full",
        """quota""",
    ),
]
"""What a telling status code outweighs."""

LAST: list[tuple[str, str]] = [
    (
        "user_unknown",
        """doesnt exist | not exist | dont exist | user not | nonexist | nexiste pas | no existe | nao existe
        | non esiste | existiert nicht | nie istnieje | bestaat niet | inconnu | desconocid | desconhecid
        | sconosciut | unbekannt | onbekend | neznam | okand | ukendt | ukjent | nicht gefunden | introuvable
        | unrecognized recipient | address rejected | recipient rejected | not found""",
    ),
]
"""What usually means that nobody is there, if nothing else was said."""

RETRYING = """will retry | will be retried | will continue | continue to try | keep trying | no action is required
    | do not need to resend | not yet been delivered | has been delayed | have been delayed | is delayed
    | being delayed | still trying | will keep | attempts will be made | warning message only | this is a warning
    | just a warning | dont need to do anything | you do not need to take | continue trying | more days
    | wird weiterhin versucht | nouvelle tentative | seguira intentando | повтор"""
"""What a server says that has not given up."""

AFTER_DATA = (
    """end of data | after data | data command | reply to end | end of message | message body | DATA rejected"""
)
"""The server took the recipient and refused later: a filter's work, whatever it calls it."""
