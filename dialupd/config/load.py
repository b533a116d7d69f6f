"""From files to a checked `Config`.

`load` reads everything, collects every problem, and gives either a configuration in which all references hold or a
`ConfigError`.  What a single value may be is said in `kinds`; what stands here is what values must be to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from dialupd.config import radio
from dialupd.config import settings as s
from dialupd.config.kinds import NAME, RADIUS_SERVERS, in_pool, show_duration
from dialupd.config.problems import ConfigError, Problem, Wrong, nearest, quoted
from dialupd.config.reader import Reader, keys
from dialupd.config.sources import Table, read
from dialupd.config.values import (
    AutoSession,
    ClientSession,
    Config,
    Daemon,
    ExecSession,
    LoginSession,
    Match,
    Mode,
    ModemEntry,
    Policy,
    PppSession,
    Radius,
    Retry,
    Role,
    Session,
    SessionType,
    TcpSession,
    When,
)

Sessions = Mapping[str, Session | None]  # None: there is such a session, but of no known type


def load(files: Sequence[tuple[str, bytes]]) -> Config:
    """The configuration that the files, as (name, content) in order, make together; raises ConfigError."""
    problems: list[Problem] = []
    tree = read(files, problems)
    daemon = _daemon(tree.daemon or Table("", "daemon"), problems)
    read_sessions = {name: _session(name, table, problems) for name, table in tree.sessions.items()}
    sessions = {name: session for name, session in read_sessions.items() if session}
    for name, session in sessions.items():
        if isinstance(session, AutoSession):
            _check_auto(session, tree.sessions[name], read_sessions, problems)
    policies = {name: _policy(name, table, read_sessions, problems) for name, table in tree.policies.items()}
    modems = tuple(_modem(table, policies, problems) for table in tree.modems)
    _check_modem_names(tree.modems, modems, problems)
    for table_name, table in (*tree.sessions.items(), *tree.policies.items()):
        try:
            NAME.read(table_name)
        except Wrong as wrong:
            problems += [Problem(table.file, table.path, text) for _, text in wrong.faults]
    if problems:
        raise ConfigError(problems)
    return Config(daemon, modems, MappingProxyType(policies), MappingProxyType(sessions))


def _daemon(table: Table, problems: list[Problem]) -> Daemon:
    r = Reader(table, s.DAEMON, problems)
    return Daemon(
        state_directory=r.get(s.STATE_DIRECTORY),
        probe_unknown=r.get(s.PROBE_UNKNOWN),
        mask_numbers=r.get(s.MASK_NUMBERS),
        suspend=r.get(s.SUSPEND),
    )


def _check_modem_names(tables: Iterable[Table], modems: Iterable[ModemEntry], problems: list[Problem]) -> None:
    first: dict[str, Table] = {}
    for table, modem in zip(tables, modems, strict=True):
        if modem.name and (other := first.setdefault(modem.name, table)) is not table:
            text = f"{quoted(modem.name)} is the name of {other.path} in {other.file} already; names must differ"
            problems.append(Problem(table.file, f"{table.path}.name", text))


def _modem(table: Table, policies: dict[str, Policy], problems: list[Problem]) -> ModemEntry:
    r = Reader(table, s.MODEM, problems)
    match_table = r.table("match")
    match = _match(match_table, problems) if table.items.get("match") is match_table else Match()
    entry = ModemEntry(
        name=r.get(s.MODEM_NAME),
        match=match,
        usbserial=r.get(s.USBSERIAL),
        speed=r.get(s.SPEED),
        flow=r.get(s.FLOW),
        init=r.get(s.INIT),
        profile=r.get(s.PROFILE),
        country=r.get(s.COUNTRY),
        pin_file=r.get(s.PIN_FILE),
        pin_credential=r.get(s.PIN_CREDENTIAL),
        apn=r.get(s.APN),
        context=r.get(s.CONTEXT),
        bearer=r.get(s.BEARER),
        keep_connected=r.get(s.KEEP_CONNECTED),
        disconnect_after=r.get(s.DISCONNECT_AFTER),
        policy=r.get(s.MODEM_POLICY),
    )
    if entry.usbserial and not {"vendor", "product"} <= match_table.items.keys():
        r.tell(s.USBSERIAL, "needs match.vendor and match.product: they say what the generic driver may take")
    if entry.pin_credential and r.has(s.PIN_FILE):
        r.tell(s.PIN_CREDENTIAL, "stands beside 'pin-file'; one of the two, please")
    if r.has(s.CONTEXT) and not r.has(s.APN):
        r.tell(s.CONTEXT, "means nothing without the 'apn' that it is for; add it")
    if entry.policy and entry.policy not in policies:
        r.tell(s.MODEM_POLICY, f"there is no [policy.{entry.policy}]{nearest(entry.policy, policies)}")
    radio.check_modem(r, entry, policies)
    return entry


def _match(table: Table, problems: list[Problem]) -> Match:
    r = Reader(table, s.MATCH, problems)
    match = Match(
        vendor=r.get(s.VENDOR),
        product=r.get(s.PRODUCT),
        serial=r.get(s.SERIAL),
        interface=r.get(s.INTERFACE),
        driver=r.get(s.DRIVER),
        path=r.get(s.PATH),
        bus=r.get(s.BUS),
        device=r.get(s.DEVICE),
        address=r.get(s.BLUETOOTH_ADDRESS),
        name=r.get(s.BLUETOOTH_NAME),
        device_class=r.get(s.BLUETOOTH_CLASS),
    )
    if not table.items:
        problems.append(Problem(table.file, table.path, "is empty; it needs one of " + ", ".join(keys(s.MATCH))))
    if match.product and not r.has(s.VENDOR):
        r.tell(s.PRODUCT, "means nothing without the vendor; add it")
    radio.check_match(r, match)
    return match


def _policy(name: str, table: Table, sessions: Sessions, problems: list[Problem]) -> Policy:
    r = Reader(table, s.POLICY, problems)
    policy = Policy(
        name=name,
        mode=r.get(s.MODE),
        session=r.get(s.POLICY_SESSION),
        rings=r.get(s.RINGS),
        allow_callers=r.get(s.ALLOW_CALLERS),
        deny_callers=r.get(s.DENY_CALLERS),
        ring_back=r.get(s.RING_BACK),
        max_duration=r.get(s.MAX_DURATION),
        when=r.get(s.WHEN),
        numbers=r.get(s.NUMBERS),
        dial_command=r.get(s.DIAL_COMMAND),
        timeout=r.get(s.TIMEOUT),
        retry=_retry(r.table("retry"), problems),
    )
    r.check_effect(s.POLICY, policy.mode)
    if policy.mode is not Mode.MANUAL and r.has(s.MODE) and not r.has(s.POLICY_SESSION):
        r.tell(s.POLICY_SESSION, f"needs the key 'session' with mode = \"{policy.mode}\"")
    if policy.mode is Mode.ORIGINATE and not r.has(s.NUMBERS):
        r.tell(s.NUMBERS, "needs the key 'numbers' with mode = \"originate\"")
    if policy.session:
        if policy.session in sessions:
            _check_session(r, policy, sessions[policy.session])
        else:
            r.tell(s.POLICY_SESSION, f"there is no [session.{policy.session}]{nearest(policy.session, sessions)}")
    return policy


def _check_session(r: Reader, policy: Policy, session: Session | None) -> None:
    """The session must be one that can follow on how the call begins."""
    match policy.mode, session:
        case Mode.ORIGINATE, PppSession(role=Role.SERVER):
            r.tell(
                s.POLICY_SESSION, f'{quoted(session.name)} has role = "server", which is for calls that are answered'
            )
        case Mode.ORIGINATE, AutoSession():
            r.tell(s.POLICY_SESSION, f"{quoted(session.name)} listens to callers; a call that is dialled needs another")
        case Mode.ANSWER, PppSession(role=Role.CLIENT):
            r.tell(s.POLICY_SESSION, f'{quoted(session.name)} has role = "client"; callers need role = "server"')
        case Mode.ORIGINATE, ClientSession() if policy.when is When.ALWAYS:
            text = f'{quoted(session.name)} waits for a program, so nothing may dial by itself; write when = "manual"'
            r.tell(s.POLICY_SESSION, text)


def _retry(table: Table, problems: list[Problem]) -> Retry:
    r = Reader(table, s.RETRY, problems)
    retry = Retry(
        first=r.get(s.RETRY_FIRST),
        max=r.get(s.RETRY_MAX),
        attempts=r.get(s.RETRY_ATTEMPTS),
        per_day=r.get(s.RETRY_PER_DAY),
    )
    if retry.first > retry.max:
        r.tell(s.RETRY_FIRST, f"is longer than 'max', the longest pause ({show_duration(retry.max)})")
    return retry


def _session(name: str, table: Table, problems: list[Problem]) -> Session | None:
    # the type decides which keys there are: read it first, and leave the rest alone if it is unknown
    aside: list[Problem] = []
    kind = Reader(Table(table.file, table.path, {k: v for k, v in table.items.items() if k == "type"}), _TYPE, aside)
    session_type = kind.get(s.SESSION_TYPE)
    if aside:
        problems += aside
        return None
    r = Reader(table, s.SESSIONS[session_type], problems, f' of the session type "{session_type}"')
    r.get(s.SESSION_TYPE)
    match session_type:
        case SessionType.PPP:
            return _ppp(name, r, problems)
        case SessionType.TCP:
            host, port = r.get(s.TCP_ADDRESS)
            return TcpSession(name, host, port, telnet=r.get(s.TELNET))
        case SessionType.LOGIN:
            return LoginSession(
                name,
                root=r.get(s.ROOT),
                login_timeout=r.get(s.LOGIN_TIMEOUT),
                issue_file=r.get(s.ISSUE_FILE),
                terminal=r.get(s.TERMINAL),
                callback=r.get(s.CALLBACK),
            )
        case SessionType.AUTO:
            return AutoSession(name, ppp=r.get(s.AUTO_PPP), login=r.get(s.AUTO_LOGIN), wait=r.get(s.WAIT))
        case SessionType.EXEC:
            return ExecSession(name, command=r.get(s.COMMAND), user=r.get(s.EXEC_USER))
        case SessionType.CLIENT:
            return ClientSession(name)


_TYPE = s.Section("", "", (s.SESSION_TYPE,))


def _check_auto(session: AutoSession, table: Table, sessions: Sessions, problems: list[Problem]) -> None:
    """Both names must be of sessions that can follow on what a caller has sent."""
    r = Reader(table, s.AUTO, [])
    for setting, name in ((s.AUTO_PPP, session.ppp), (s.AUTO_LOGIN, session.login)):
        if not name:
            continue
        follows = sessions.get(name)
        text = ""
        if name not in sessions:
            text = f"there is no [session.{name}]{nearest(name, sessions)}"
        elif (
            setting is s.AUTO_PPP and follows and not (isinstance(follows, PppSession) and follows.role is Role.SERVER)
        ):
            text = f'{quoted(name)} is no session with type = "ppp" and role = "server"'
        elif setting is s.AUTO_LOGIN and isinstance(follows, PppSession | AutoSession):
            text = f"{quoted(name)} is no session of type login, exec, tcp or client"
        if text:
            problems.append(r.problem(setting, text))


def _ppp(name: str, r: Reader, problems: list[Problem]) -> PppSession:
    steps = r.get(s.LOGIN)
    first, last = r.get(s.REMOTE)
    role = r.get(s.ROLE)
    session = PppSession(
        name=name,
        role=role,
        user=r.get(s.PPP_USER),
        password_file=r.get(s.PASSWORD_FILE),
        password_credential=r.get(s.PASSWORD_CREDENTIAL),
        default_route=r.get(s.DEFAULT_ROUTE),
        metric=r.get(s.METRIC),
        dns=r.get(s.DNS),
        idle=r.get(s.IDLE),
        login=steps or (),
        auto_login=steps is None,
        login_timeout=r.get(s.PPP_LOGIN_TIMEOUT),
        login_abort=r.get(s.LOGIN_ABORT),
        mtu=r.get(s.MTU),
        mru=r.get(s.MRU),
        compression=r.get(s.COMPRESSION),
        ipv6=r.get(s.IPV6) if r.has(s.IPV6) else role is Role.CLIENT,
        routes=r.get(s.ROUTES),
        options=r.get(s.OPTIONS),
        local=r.get(s.LOCAL),
        remote=first if first == last else "",
        pool=(first, last) if first != last else ("", ""),
        dns_servers=r.get(s.DNS_SERVERS),
        proxy_arp=r.get(s.PROXY_ARP),
        max_sessions=r.get(s.MAX_SESSIONS),
        auth=r.get(s.AUTH),
        radius=_radius(r.table("radius"), problems) if r.has(s.PPP_RADIUS) else None,
    )
    r.check_effect(s.PPP, session.role)
    _check_ppp_server(session, r)
    _check_ppp_secrets(session, r)
    return session


def _check_ppp_server(session: PppSession, r: Reader) -> None:
    if session.role is Role.SERVER:
        for setting in (s.LOCAL, s.REMOTE, s.AUTH):
            if not r.has(setting):
                r.tell(setting, f"needs the key '{setting.key}' with role = \"server\": {setting.help}")
    elif session.pool[0]:
        r.tell(s.REMOTE, 'is a range, which is for role = "server"')
    if session.local and session.local == session.remote:
        r.tell(s.REMOTE, "is the address of this end too; the two must differ")
    if session.local and session.pool[0] and in_pool(session.local, session.pool):
        r.tell(s.REMOTE, f"holds the address of this end too, {session.local}; choose another one for it")
    if len(session.dns_servers) > 2:
        r.tell(s.DNS_SERVERS, f"has {len(session.dns_servers)} addresses; PPP tells two")
    if session.radius and r.has(s.AUTH) and not session.auth:
        r.tell(s.PPP_RADIUS, "has nothing to ask the servers for: 'auth' is empty")


def _check_ppp_secrets(session: PppSession, r: Reader) -> None:
    for setting in (s.PASSWORD_FILE, s.PASSWORD_CREDENTIAL):
        if r.has(setting) and not r.has(s.PPP_USER):
            r.tell(setting, "is of no use without 'user'; add it")
    if session.password_credential and r.has(s.PASSWORD_FILE):
        r.tell(s.PASSWORD_CREDENTIAL, "stands beside 'password-file'; one of the two, please")
    secret = r.has(s.PASSWORD_FILE) or r.has(s.PASSWORD_CREDENTIAL)
    sent = "".join(text for step in session.login for text in (step.send, *step.expect[1::2]))
    if "{user}" in sent and not r.has(s.PPP_USER):
        r.tell(s.LOGIN, "sends {user}, but there is no 'user'")
    if "{password}" in sent and not secret:
        r.tell(s.LOGIN, "sends {password}, but there is no 'password-file' and no 'password-credential'")
    if session.auto_login and not (session.user and secret):
        r.tell(s.LOGIN, "\"auto\" needs 'user', and 'password-file' or 'password-credential'")
    for companion in (s.PPP_LOGIN_TIMEOUT, s.LOGIN_ABORT):
        if r.has(companion) and not r.has(s.LOGIN):
            r.tell(companion, "has no effect without 'login'")


def _radius(table: Table, problems: list[Problem]) -> Radius:
    r = Reader(table, s.RADIUS, problems)
    radius = Radius(
        servers=r.get(s.RADIUS_SERVERS),
        secret_file=r.get(s.SECRET_FILE),
        secret_credential=r.get(s.SECRET_CREDENTIAL),
        accounting=r.get(s.ACCOUNTING),
        nas_identifier=r.get(s.NAS_IDENTIFIER),
    )
    if len(radius.servers) > RADIUS_SERVERS:
        r.tell(s.RADIUS_SERVERS, f"has {len(radius.servers)} servers; at most {RADIUS_SERVERS} can be asked in time")
    if radius.secret_credential and r.has(s.SECRET_FILE):
        r.tell(s.SECRET_CREDENTIAL, "stands beside 'secret-file'; one of the two, please")
    if not (r.has(s.SECRET_FILE) or r.has(s.SECRET_CREDENTIAL)):
        r.tell(s.SECRET_FILE, "needs the key 'secret-file' or 'secret-credential'")
    return radius
