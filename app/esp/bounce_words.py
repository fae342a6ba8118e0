"""What mail servers say when they refuse, as data: reason by reason, in the words of the servers.

A phrase is matched at the start of a word, in lower case, without accents and punctuation, with one blank between
words; every address in the text is `@`. `*` stands for up to 60 characters, `~` in front for any place in a word.
Phrases stand between bars. The first row with a phrase that occurs gives the reason, so rows whose words may stand
inside another's come first: what is said of the sender before what is said of the recipient.

The phrases were gathered from the manuals and sources of mail servers (Postfix, Exim, Sendmail, qmail, Courier,
Exchange, Domino, GroupWise), the postmaster pages of mailbox providers, and notices as received. The reasons are
those that Sisimai's list of bounce reasons tells apart, some of them taken together.
"""

STRONG: list[tuple[str, str]] = [
    (
        "host_unknown",
        """account or domain may not exist""",
    ),
    (
        "filtered",
        """user reject | blocked by the recipient | refused due to recipient preferences
        | based on the email preferences of""",
    ),
    (
        "greylisted",
        """greylist | graylist | grey listed | gray listed | postgrey | you have been deferred""",
    ),
    (
        "sender",
        """sender address rejected | sender address * does not exist | sender verify failed | sender verification failed
        | sender rejected | sender was rejected | sender denied | sender domain | domain of sender
        | sender not verified | could not verify sender | verify the sender | sender address verification
        | unverified sender | unroutable sender | unrouteable sender | invalid sender | sender invalid
        | sender is invalid | unknown sender | sender unknown | sender email address rejected
        | sender address has been blacklisted | sender is in my black | mail from not owned | bogus mail from
        | bad sender | null sender | empty envelope sender | your envelope sender | bad mail from | badmailfrom
        | from domain is invalid | sender not pre approved | sender is not allowed | sender not authenticated | batv
        | email address is not verified | emetteur invalide | expediteur invalide | expediteur refuse
        | absender unbekannt | absender abgelehnt | absenderadresse | remitente rechazado | remetente rejeitado
        | because the sender isnt on the recipients list | not on the list of allowed senders | allowed senders list
        | restricted to * senders | only accepts * from specific | not allowed to post to this mailing list
        | not authorized to send to this | permission to send to | do not have permission to
        | dont have permission to | does not accept mail from * sender | messages from * not accepted | backscatter
        | no third party dsn | returned mail not accepted | access denied bad outbound sender
        | access denied banned sender | domain * of sender | senders domain | sendersdomain | sender id * fail
        | has no a aaaa or mx | not authorized to post | 権限 | may not exist or you may not have permission
        | rechazado remitente | invalid domain see""",
    ),
    (
        "auth",
        """dmarc | sender policy framework | dkim | domainkeys | unauthenticated email | unauthenticated mail | openspf
        | ~spf.pobox.com | not pass authentication | authentication checks | required authentication level
        | does not designate | not permitted sender | sender id | arc seal | email is not authenticated
        | ~SPFValidation | authentication requirements defined | spf""",
    ),
    (
        "mailbox_full",
        """over quota | overquota | quota exceed | exceed * quota | quota full | quota is full | quota has been
        | out of quota | over the quota | over its quota | over their quota | overdrawn * quota | disk quota
        | disc quota | mailbox quota | storage quota | mail quota | user quota | quota usage | quota violation
        | exceeded its quota | beyond * quota | quota limit | quota would | insufficient quota | not enough quota
        | quotaexceeded | inbox quota | mailbox full | mailbox is full | mailbox * full | mailbox was full
        | inbox is full | inbox full | full mailbox | mailbox too full | mail folder is full | mailfolder is full
        | account is full | account full | mailbox exceed | mailbox has exceeded | mailbox size exceed
        | mailbox size limit | exceeds mailbox size | mailbox would exceed | maximum mailbox size
        | mailbox * limit exceeded | mailbox * over limit | mailbox limit | exceeded storage | exceeded * storage
        | storage limit | storage allocation | storage is full | storage full | over the maximum allowed mailbox
        | over the maximum allowed quota | no space left in mailbox | space has been used up | mail file size exceeds
        | does not have enough space | doesnt have enough space | enough storage | has no space | not enough space
        | insufficient space in * mailbox | too much mail data | user has too many messages | maximum allowed storage
        | maximum storage | mailbox space | out of storage | receiving limits | inbox size | too many messages in
        | mailbox has reached | reached * limit of * mailbox | over the limit of * mailbox | email account is over
        | overlimit | mailboxfull | boite * pleine | boite * saturee | quota * depasse | depasse * quota
        | messagerie pleine | espace * insuffisant | postfach * voll | postfach voll | mailbox * voll | speicherplatz
        | postfach * uberfullt | quota * uberschritten | buzon lleno | buzon * lleno | cuota excedida
        | cuota * excedida | excedio * cuota | excede * cuota | caixa * cheia | caixa cheia | cota excedida
        | quota excedida | excedeu * cota | limite de armazenamento | casella piena | casella * piena
        | quota superata | mailbox vol | postbus vol | postvak * vol | skrzynka * pelna | skrzynka * przepelniona
        | przekroczony limit | przekroczono limit | posta kutusu dolu | schranka * plna | megtelt | brevlada * full
        | postboks * full | innboks * full | переполнен | превышен * квот | квота | ящик полон | ящик заполнен
        | ящика исчерпан | 邮箱已满 | 信箱已满 | 信箱已滿 | 郵箱已滿 | 空间不足 | 空間不足 | 超过配额 | 容量已满
        | 容量不足 | 已超出 | 邮箱满 | 爆满 | 信箱容量 | いっぱい | 容量を超え | 容量オーバー | 保存容量 | 一杯
        | 용량 | 편지함이 가득 | ofr 417 | ~RESOLVER.RST.RecipOverQuota | kotasi | kota dolu""",
    ),
    (
        "too_big",
        """message too large | message too big | message is too large | message is too big | mail too large
        | mail too big | message size exceed | message length exceed | message exceed * size | size exceeds
        | exceeds * message size | exceeds size limit | exceeded * message size | exceeded the maximum size
        | exceed * maximum size | email size | maximum message size | message size limit | size limit exceeded
        | larger than the maximum size | mail size limit | exceeds administrative limit
        | too large for this recipient | recipsizelimit | message file too big | message header size
        | exceeds the maximum size | larger than the current system limit | size of * message exceeds
        | message too long | class size | message size * limit | message is larger than | too big for system
        | exceeds global size limit | bigger than | size larger than allowed | above the size limit
        | nachricht zu gross | message trop volumineux | taille maximale | mensaje demasiado grande
        | messaggio troppo grande | tamano maximo | 邮件过大 | 邮件太大 | 郵件過大 | サイズが大き | サイズ制限
        | превышает * размер | слишком больш | file too large""",
    ),
    (
        "rate",
        """too many invalid recipient | too many unknown | too many bad recipient | too many recipient
        | too many connection | too many concurrent | too many session | too many message | too many mail
        | too many email | too many errors | too many simultaneous | too much mail | too fast | throttl | slow down
        | try again slower | rate limit | ratelimit | rate that prevents | limit exceeded for connection
        | connection limit | connection rate | exceeded * connection | max emails per hour | max defers
        | maximum number of recipients | sending limit | message threshold exceeded | frequency limited
        | unusual rate | hourly limit | daily limit | daily quota of | receiving mail at a rate
        | receiving mail too quickly | receiving messages too quickly | exceeded the rate | exceeded sending
        | trop de connexions | trop de messages | zu viele verbindungen | demasiadas conexiones | 频率 | 頻率
        | ip has sent too many | too many rcpt | numerous attempts to deliver | no valid recipients from""",
    ),
    (
        "relay",
        """relay access denied | relaying denied | relay denied | relaying not | relay not | relaying is not
        | relaying to | unable to relay | cannot relay | not permitted to relay | not allowed to relay
        | not configured to relay | relay prohibited | relaying prohibited | no relaying | relaying mail
        | do not relay | dont relay | open relay | relay attempt | relaying disallowed | relaying blocked
        | relaying through | third party relay | as a relay | insecure mail relay | allowed rcpthost | not a gateway
        | not local host | dont handle mail for | does not handle mail for | do not accept mail for
        | is not hosted here | specified domain is not allowed | not a local domain | non local * requires auth
        | relay smtp error | smtp relay error | mail gate is forbidden | relais refuse | not relaying
        | ~TenantAttribution | not authorized to relay | relaying is prohibited | non local email address""",
    ),
    (
        "reverse_dns",
        """reverse dns | reverse lookup | ptr record | rdns | ptr resource | cannot find your reverse
        | cannot resolve your address | ip name lookup failed | no ptr | missing ptr | valid ptr | dns ptr
        | your hostname | unresolvable relay host | hosts with dynamic | dynamic ip | generic dns | forward confirmed
        | fcrdns | helo command | bad helo | invalid helo | helo * invalid | ehlo * invalid | mismatches client ip
        | unverifyable sending | ~iprev""",
    ),
    (
        "suppressed",
        """suppression list | suppressed | previously bounced | bounced address | previously unsubscribed
        | unsubscribed address | preblocked | pre blocked | bounced previously | address has bounced
        | do not mail list | spam reporting address""",
    ),
    (
        "virus",
        """virus * found | virus * detected | infected with | contains a virus | contains virus | virus infected
        | malware | viruses | worm * found | virus scanner | virus in your | containing virus | has virus
        | prohibited virus | banned file | virenscanner | virus gefunden | вирус | 病毒 | ウイルス | due to virus
        | potential security issue""",
    ),
    (
        "reputation",
        """blacklist | black list | blocklist | block list | blocked using | ~spamhaus | ~spamcop | ~barracudacentral
        | ~abuseat | ~sorbs | ~dnsbl | rbl | dnsrbl | listed at | poor reputation | bad reputation
        | banned sending ip | s3140 | s3150 | ~tss0 | your ip address | ip * blocked | denylist | 黑名单 | 黑名單
        | черн * спис""",
    ),
    (
        "expired",
        """delivery temporarily suspended""",
    ),
    (
        "network",
        """host not found try again | temporary failure in name resolution | name service error * try again
        | temporary lookup failure | malformed or unexpected name server | malformed name server
        | unrouteable mail domain | unroutable mail domain | dns records for the destination computer""",
    ),
    (
        "suspended",
        """account * disabled | account * suspended | account * deactivated | account * inactive | account * locked
        | account * not active | account is disabled | account disabled | account suspended | account deactivated
        | account inactive | account locked | account is locked | inactive account | disabled account
        | account is temporarily | account expired | account has expired | account has been blocked
        | account closed temporarily | account is on hold | account frozen | account is frozen | account abandoned
        | mailbox * disabled | mailbox disabled | mailbox suspended | mailbox * suspended | mailbox * frozen
        | mailbox frozen | mailbox * locked | mailbox locked | mailbox * inactive | mailbox inactive
        | mailbox * deactivated | inactive mailbox | deactivated mailbox | disabled mailbox | mailbox * not active
        | mailbox unavailable or access denied | user * disabled | user disabled | user * suspended | user suspended
        | user * inactive | user inactive | inactive user | user * deactivated | user * terminated
        | user is terminated | user * locked | user locked | user not active | user * not activated
        | terminated account | recipient * disabled | recipient disabled | recipient * suspended
        | recipient * inactive | recipient * deactivated | recipient suspend | suspend the service
        | temporarily inactive | recipient rejected temporarily | temporarily limited | email * is disabled
        | email * disabled | email * suspended | email * deactivated | has been suspended | currently suspended
        | has been deactivated | has been disabled | no longer active | is not active | is inactive
        | currently disabled | temporary locked | temporarily locked | temporarily disabled | temporarily deactivated
        | temporarily suspended | administratively disabled | administrative disabled | disabled by administrator
        | domain is disabled | domain suspended | domain * suspended | is deactivated | is not activated | dormant
        | disabled or discontinued | archived recipient | destinataire archivee | not been used for
        | not used for more than | out of service | because of inactivity | due to inactivity | compte desactive
        | compte suspendu | konto gesperrt | konto deaktiviert | postfach gesperrt | postfach deaktiviert
        | zugang gesperrt | nicht mehr aktiv | cuenta * desactivada | cuenta * deshabilitada | cuenta * suspendida
        | cuenta * inactiva | cuenta inactiva | conta * desativada | conta * inativa | conta inativa
        | conta * bloqueada | conta suspensa | conta * cancelada | konto * zablokowane | konto * nieaktywne
        | nieaktywny | заблокирован | неактивен | отключен | 被禁用 | 已停用 | 被冻结 | 已冻结 | 停權 | 被锁定
        | 已被暂停 | 休眠 | 휴면 | 利用停止 | 停止され | ofr 420 | ofr 426 | now disabled | disableduser
        | expired account | mailbox temporarily | mailbox is temporarily | mailbox is currently unavailable""",
    ),
    (
        "moved",
        """has moved | mailbox moved | moved to another | has been replaced by | has left the | left the company
        | no longer works | no longer employed | no longer with | no longer at this | user moved
        | address has changed | address changed | changed address | changed their address | has a new address
        | new email address is | new address is | please use * instead | has changed to | ist umgezogen
        | nicht mehr bei | a demenage | a change d adresse | ha cambiado de | mudou de | mailbox owner has changed
        | no forwarding | no longer on server""",
    ),
    (
        "no_mail",
        """nullmx | null mx | host does not accept mail | domain does not accept mail | domain does not accept email
        | does not accept any mail | mail receiving disabled | no mx record found | does not receive mail
        | name server . host not found | domain not accepting mail | smtp protocol returned a permanent error
        | no mail service | no route for current request | no mail server for | domain does not receive email
        | domain has no mail | does not have a mail server | has no mail exchanger | has no mx | keinen mailserver
        | domain isnt accepting | no mail hosts for domain""",
    ),
    (
        "host_unknown",
        """host unknown | unknown host | unknown domain | domain unknown | no such domain | no such host
        | domain does not exist | domain doesnt exist | domain * does not exist | domain * doesnt exist
        | domain not found | domain name not found | domain * not found | host not found | name or service not known
        | domain must exist | non existent domain | nonexistent domain | nonexistentdomain | nxdomain
        | domain is not reachable | domain is invalid | invalid domain | invalid destination domain
        | bad destination domain | bad destination host | bad destination system | unroutable address
        | unrouteable address | unroutable mail domain | unrouteable mail domain | unrouteable domain
        | unknown mail domain | mail domain * unknown | account or domain may not exist | illegal host
        | illegal domain | bad domain | bad host | domain * couldnt be found | domain couldnt be found
        | domain * could not be found | couldnt find any host | could not find any host | couldnt find host named
        | dns records for the destination computer could not be found | dns error * not found
        | dns domain * does not exist | couldnt find a mail exchanger | domain name resolution error
        | couldnt be resolved | domain has expired | domain * expired | domain is not registered
        | unregistered domain | destination domain * unknown | remote domain * exist | recipients domain
        | domaine inconnu | domaine * inexistant | unbekannte domain | domain unbekannt | domain existiert nicht
        | dominio desconocido | dominio * no existe | dominio no encontrado | dominio inexistente
        | dominio * nao existe | dominio sconosciuto | nieznana domena | домен не | домен * не | 域名不存在
        | 找不到域名 | 域名解析 | 網域不存在 | ドメインが見つか | ドメインが存在""",
    ),
    (
        "user_unknown",
        """user unknown | unknown user | userunknown | no such user | nosuchuser | no such recipient | no such account
        | no such address | no such person | no such email | no such local | no such mail | no such name | no such id
        | not such user | there is no such | no user by that name | no account by that name | no one by that name
        | no user with that name | no * mailbox here by that name | no mailbox here | no mailbox by that name
        | no mailbox found | no user found | no such subscriber | no person at | not known here | name not known
        | nobody by that name | no mail box available | no mailbox for | no account for | no * user here
        | no valid recipient | no existing user | no account here | no * in name directory | no local mailbox
        | no such alias | there is no user | there is no one | no one at this address | there is no account
        | there is no mailbox | no email account | user not found | user * not found | user was not found
        | user not known | user not exist | user no exist | user does not exist | user doesnt exist
        | user * does not exist | user * doesnt exist | user not here | user missing | users do not exist
        | user invalid | invalid user | user not listed | not listed in * directory | not listed in domino
        | not listed in public name | user is unknown | user name unknown | user name is unknown | username not found
        | username unknown | username does not exist | user is not found | user * unknown | user isnt registered
        | user is not registered | user not registered | isnt a known user | user doesnt have | account not found
        | account does not exist | account doesnt exist | account * does not exist | account * doesnt exist
        | account not exist | account unknown | unknown account | account * not found | account is unavailable
        | account unavailable | account deleted | account has been deleted | account * deleted | account closed
        | account is closed | account has been closed | account terminated | account is invalid | invalid account
        | account is not valid | account that you tried to reach does not exist | account * cancelled
        | account canceled | account * removed | mailbox not found | mailbox * not found | mailbox does not exist
        | mailbox doesnt exist | mailbox * does not exist | mailbox * doesnt exist | mailbox unknown
        | unknown mailbox | mailbox invalid | invalid mailbox | mailbox not present | mailbox not exist
        | mailbox name not allowed | bad destination mailbox | mailbox not listed | mailbox no longer
        | mailbox has been removed | mailbox deleted | non existent mailbox | nonexistent mailbox | nonexistent user
        | non existent user | nonexistent recipient | non existent recipient | nonexistent email | non existent email
        | nonexistent address | non existent address | non existing | nonexisting | non existent account
        | mailbox not local | recipient unknown | unknown recipient | recipient not found | recipient * not found
        | recipient does not exist | recipient doesnt exist | recipient not exist | recipient * does not exist
        | recipient is unknown | recipient is not local | recipient invalid | invalid recipient | recipient not known
        | recipient no longer | recipient not on this | recipient not ok | recipient not recognized
        | recipient not listed | recipient is not valid | not a valid recipient | recipient is invalid
        | recipients were unknown | recipient no found | recipient does not match | bad recipient | badrcptto
        | validrcptto | recipient is not accepted | recipient refuses to accept your mail | recipient not accepted
        | unknown or illegal | address unknown | address not found | address * not found | address does not exist
        | address doesnt exist | address * does not exist | address * doesnt exist | address not known
        | address not exist | addresses were unknown | address is unknown | address not present in directory
        | address invalid | invalid address | address * is invalid | address is not valid | bad address
        | address could not be found | address couldnt be found | address * unknown | address is wrong
        | address no longer | address not valid | address not listed | address is no longer
        | email address is incorrect | undefined address | illegal address | illegal user | illegal alias
        | undefined mail alias | undefined alias | wrong email address | unknown email | email does not exist
        | email doesnt exist | email not found | emailaddress not found | email name is not found | unknown local
        | unknown virtual | local part | unknown name | unknown person | unknown customer | not a valid user
        | not a valid mailbox | not a valid address | not a valid email | not a known | not a user | not our customer
        | not a local address | not a local user | not an active address | not known at this | not known to this
        | is not known | not in my user | not email addresses | not a mailbox | not valid mailbox | not a recognised
        | not recognized here | cant accept user | isnt in my list | unable to find recipient | cannot find recipient
        | could not find recipient | cant find user | cannot find user | unable to find user | unable to locate user
        | could not find user | cant verify user | could not verify recipient | recipient verify failed
        | couldnt verify recipient | recipient verification failed | unverified address | unable to verify address
        | callout verification | undeliverable address | deliver to * failed no such | name not found
        | name * not found | name is not recognized | cannot be recognized | ~resolver.adr | ~recipnotfound
        | ~recipientnotfound | ~unknownuser | ~badrecipient | ~vdeliver | missing home directory
        | spectator does not exist | recipient address rejected user | recipient address rejected access denied
        | recipient address rejected invalid | recipient address rejected unknown
        | recipient address rejected in reply to rcpt | recipient address rejected no such
        | recipient address rejected not | recipient address rejected undeliverable
        | email account that you tried to reach does not | rejected unlisted | 5.1.0 address rejected
        | destination server rejected recipients | envelope recipient has been denied | no longer accepts mail
        | no longer exist | no longer valid | no longer in use | no longer available | no longer in service
        | no longer on | does not have a * account | doesnt have a * account | doesnt have an account
        | doesnt have account | this user doesnt | user does not have | customer no longer | email is invalid
        | was not found at | couldnt be found or | couldnt be found at | wasnt found | cant be found | isnt known
        | @ not found | @ unknown | @ does not exist | @ doesnt exist | delivered mailbox not | mailbox name invalid
        | unbekannter empfanger | unbekannter benutzer | empfanger unbekannt | benutzer unbekannt
        | empfanger * nicht bekannt | adresse unbekannt | adresse nicht gefunden | adresse * nicht gefunden
        | benutzer nicht gefunden | empfanger nicht gefunden | empfanger * nicht gefunden | empfanger existiert nicht
        | empfanger * existiert nicht | adresse existiert nicht | adresse * existiert nicht | kein solcher benutzer
        | kein postfach | postfach existiert nicht | postfach * nicht vorhanden | konto existiert nicht
        | unbekannte adresse | unbekannte mail | nicht zustellbar adresse | ungultige adresse | ungultiger empfanger
        | empfangeradresse * nicht | benutzer existiert nicht | mailadresse existiert nicht
        | mailadresse ist * unbekannt | utilisateur inconnu | destinataire inconnu | adresse inconnue
        | adresse * inconnue | adresse introuvable | adresse * introuvable | utilisateur introuvable
        | destinataire introuvable | adresse * n existe pas | utilisateur * nexiste pas | adresse nexiste pas
        | adresse * nexiste | destinataire invalide | destinataire * nexiste pas | boite * inexistante
        | boite * nexiste pas | compte * nexiste pas | compte inexistant | adresse invalide | usager inconnu
        | correspondant inconnu | utilisateur inexistant | usuario desconocido | usuario inexistente
        | usuario no existe | usuario * no existe | usuario no encontrado | destinatario desconocido
        | destinatario * no existe | destinatario no | direccion desconocida | direccion * no existe | direccion no
        | cuenta no existe | cuenta * no existe | cuenta inexistente | buzon * no existe | buzon inexistente
        | no existe dicha | no existe ese | no existe el usuario | no existe la cuenta | no se encontro la direccion
        | correo inexistente | no se encontro el | no se ha encontrado | usuario * desconocido | usuario invalido
        | casilla inexistente | usuario desconhecido | usuario nao | usuario * nao existe | destinatario desconhecido
        | destinatario inexistente | destinatario nao | endereco desconhecido | endereco inexistente
        | endereco * nao existe | endereco nao | caixa postal nao | caixa postal inexistente | conta inexistente
        | conta nao existe | conta * nao existe | utilizador desconhecido | utente sconosciuto | utente inesistente
        | utente non | destinatario sconosciuto | destinatario inesistente | nessun utente | indirizzo inesistente
        | indirizzo sconosciuto | indirizzo * non esiste | indirizzo non | casella inesistente | casella * non esiste
        | casella non | account inesistente | onbekende gebruiker | gebruiker onbekend | gebruiker bestaat niet
        | onbekende ontvanger | ontvanger onbekend | adres bestaat niet | adres * bestaat niet | onbekend adres
        | mailbox bestaat niet | adres onbekend | nieznany uzytkownik | uzytkownik nieznany | uzytkownik nie istnieje
        | nie ma takiego | nie ma takiej | konto nie istnieje | konto * nie istnieje | adres nie istnieje
        | adres * nie istnieje | nieznany odbiorca | nieznany adres | brak uzytkownika | brak takiego
        | skrzynka nie istnieje | takiego konta | okand mottagare | okand anvandare | finns inte | ukendt modtager
        | ukendt bruger | findes ikke | ukjent mottaker | ukjent bruker | finnes ikke | tuntematon | ei loydy
        | ei ole olemassa | neznamy uzivatel | neznamy prijemce | uzivatel neexistuje | adresa neexistuje
        | schranka neexistuje | ismeretlen | nem letezik | kullanici bulunamadi | bilinmeyen kullanici
        | kullanici yok | boyle bir kullanici | utilizator necunoscut | utilizator inexistent | nu exista
        | пользователь не | пользователя не | нет такого | неизвестный пользователь | неизвестный получатель
        | не найден | не существует | несуществу | адресат не | получатель не | ящик не | ящик удален
        | такого пользователя | такого адреса | не зарегистрирован | 無此使用者 | 无此用户 | 無此用戶 | 没有此用户
        | 沒有此 | 查无此人 | 查無此人 | 无效用户 | 无效的收件 | 无效地址 | 未知用户 | 不存在 | 无法找到 | 找不到
        | 宛先不明 | 存在しません | 存在しない | 見つかりません | 見つからな | 宛先が不明 | 該当するユーザ
        | ユーザーが不明 | ユーザが存在 | アドレス不明 | 존재하지 | 찾을 수 없 | 없는 사용자 | 수신자를 | ofr 416
        | ofr 418 | @ recipient rejected | @ not ok | not a member of domain | recipient cannot be verified
        | recipient is not allowed | リストにありません | unknown address @ | unknown addressee | addressee unknown
        | invalid final delivery userid | recipient unrecognized | unrecognized recipient | 550 recipient rejected""",
    ),
    (
        "reputation",
        """blocked by | is blocked | been blocked | ip blocked | black listed | block listed | ~senderscore
        | ~uceprotect | ~mailspike | ~invaluement | listed in | listed on | listed by | reputation | banned ip
        | your ip | ip address | ip profile | your network | your server | your mail server | sending ip
        | sending server | sending mta | client host rejected | client host * blocked | connection refused from
        | refused to talk to me | connections will not be accepted | connection not accepted
        | not accepting connections | not accept mail from | mail from * refused | access from * blocked
        | not allowed to connect | open proxy | abuse detecte | abus detecte | ou 001 | ou 002 | sc 001 | sc 002
        | dy 001 | dy 002 | ~tss04 | tss0 | cloudmark | ironport | go away | user complaint | unexpected volume
        | complaints | smtp server of your isp | requires confirmation | confirm this mail server | hvu | rly b
        | host network not allowed | abusive | deny list | blocked for abuse | liste noire | schwarze liste
        | lista negra | черный список | access to submit messages | access to this mail system""",
    ),
    (
        "spam",
        """spam | junk | unsolicited | bulk mail | bulk email | mass mail | uce | advertis | surbl | uribl
        | high probability | antispam | phish | pattern detection | url in message | url blacklist | cloudmark
        | blocked url | bayes | blacklisted url | mailmarshal | ofr 506 | dt spm | dt sum | reject due to content
        | спам | 垃圾邮件 | 垃圾郵件 | 垃圾信 | 迷惑メール | スパム | pourriel | indesirable | mail content denied""",
    ),
]
"""What is said so clearly that it outweighs the status code."""
