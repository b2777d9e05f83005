//! The patterns that a program may call by name within a grok: `%{IP}`, `%{SYSLOGTIMESTAMP:when}`.
//!
//! Google's documentation points at the names of Logstash 1.4.2, and real parsers use EMAILADDRESS beside them
//! (contracts/cbn.md §1.5). The regular expressions are our own: RE2 has neither look-around nor atomic groups, so a
//! name says what a text looks like and not what may stand beside it (INT finds `12` in `x12y`).
//!
//! Where a list of alternatives is ordered, the order matters: the first that fits wins, not the longest.

/// The expression of a name.
pub(crate) fn named(name: &str) -> Option<&'static str> {
    let at = PATTERNS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    Some(PATTERNS[at].1)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PATTERNS.iter().map(|(name, _)| *name)
}

/// Names with expressions, sorted by name.
const PATTERNS: &[(&str, &str)] = &[
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("BASE16FLOAT", r"\b[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)\b"),
    ("BASE16NUM", r"[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("CISCOMAC", r"(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"),
    ("COMBINEDAPACHELOG", r"%{COMMONAPACHELOG} %{QS:referrer} %{QS:agent}"),
    (
        "COMMONAPACHELOG",
        concat!(
            r"%{IPORHOST:clientip} %{USER:ident} %{USER:auth} \[%{HTTPDATE:timestamp}\] ",
            r#""(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" "#,
            r"%{NUMBER:response} (?:%{NUMBER:bytes}|-)",
        ),
    ),
    ("COMMONMAC", r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"),
    ("DATA", r".*?"),
    ("DATE", r"%{DATE_US}|%{DATE_EU}"),
    ("DATESTAMP", r"%{DATE}[- ]%{TIME}"),
    ("DATESTAMP_EVENTLOG", r"%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}"),
    ("DATESTAMP_OTHER", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}"),
    ("DATESTAMP_RFC2822", r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}"),
    ("DATESTAMP_RFC822", r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATE_EU", r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE_US", r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DAY", r"Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("EMAILLOCALPART", r"[0-9A-Za-z][0-9A-Za-z_.+=:-]*"),
    ("GREEDYDATA", r".*"),
    ("HOST", r"%{HOSTNAME}"),
    ("HOSTNAME", r"\b[0-9A-Za-z][0-9A-Za-z-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z-]{0,62})*(?:\.?|\b)"),
    ("HOSTPORT", r"%{IPORHOST}:%{POSINT}"),
    ("HOUR", r"2[0-3]|[01]?[0-9]"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("INT", r"[+-]?[0-9]+"),
    // No text starts with both, so the order is free; most addresses are of the shorter kind.
    ("IP", r"%{IPV4}|%{IPV6}"),
    ("IPORHOST", r"%{HOSTNAME}|%{IP}"),
    ("IPV4", r"%{OCTET}(?:\.%{OCTET}){3}"),
    // By how many pieces stand before the `::`, most first; a dotted tail before a plain one, which is part of it.
    (
        "IPV6",
        concat!(
            "(?:",
            "(?:%{HEXTET}:){7}(?:%{HEXTET}|:)",
            "|(?:%{HEXTET}:){6}(?:%{IPV4}|:%{HEXTET}|:)",
            "|(?:%{HEXTET}:){5}(?::%{IPV4}|(?::%{HEXTET}){1,2}|:)",
            "|(?:%{HEXTET}:){4}(?:(?::%{HEXTET})?:%{IPV4}|(?::%{HEXTET}){1,3}|:)",
            "|(?:%{HEXTET}:){3}(?:(?::%{HEXTET}){0,2}:%{IPV4}|(?::%{HEXTET}){1,4}|:)",
            "|(?:%{HEXTET}:){2}(?:(?::%{HEXTET}){0,3}:%{IPV4}|(?::%{HEXTET}){1,5}|:)",
            "|%{HEXTET}:(?:(?::%{HEXTET}){0,4}:%{IPV4}|(?::%{HEXTET}){1,6}|:)",
            "|:(?:(?::%{HEXTET}){0,5}:%{IPV4}|(?::%{HEXTET}){1,7}|:)",
            ")(?:%[0-9A-Za-z._~-]+)?",
        ),
    ),
    ("ISO8601_SECOND", r"%{SECOND}|60"),
    ("ISO8601_TIMEZONE", r"Z|[+-]%{HOUR}:?%{MINUTE}"),
    (
        "LOGLEVEL",
        concat!(
            "[Aa]lert|ALERT|[Tt]race|TRACE|[Dd]ebug|DEBUG|[Nn]otice|NOTICE|[Ii]nfo|INFO|[Ww]arn(?:ing)?|WARN(?:ING)?",
            "|[Ee]rr(?:or)?|ERR(?:OR)?|[Cc]rit(?:ical)?|CRIT(?:ICAL)?|[Ff]atal|FATAL|[Ss]evere|SEVERE",
            "|[Ee]merg(?:ency)?|EMERG(?:ENCY)?",
        ),
    ),
    ("MAC", r"%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC}"),
    ("MINUTE", r"[0-5][0-9]"),
    (
        "MONTH",
        concat!(
            r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?",
            r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b",
        ),
    ),
    ("MONTHDAY", r"0[1-9]|[12][0-9]|3[01]|[1-9]"),
    ("MONTHNUM", r"0?[1-9]|1[0-2]"),
    ("MONTHNUM2", r"0[1-9]|1[0-2]"),
    ("NONNEGINT", r"\b[0-9]+\b"),
    ("NOTSPACE", r"\S+"),
    ("NUMBER", r"%{BASE10NUM}"),
    ("PATH", r"%{UNIXPATH}|%{WINPATH}"),
    ("POSINT", r"\b[1-9][0-9]*\b"),
    ("PROG", r"[\w._/%-]+"),
    ("QS", r"%{QUOTEDSTRING}"),
    ("QUOTEDSTRING", r#""(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*'|`(?:\\.|[^\\`])*`"#),
    ("SECOND", r"(?:60|[0-5]?[0-9])(?:[:.,][0-9]+)?"),
    ("SPACE", r"\s*"),
    ("SYSLOGBASE", r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:"),
    ("SYSLOGFACILITY", r"<%{NONNEGINT:facility}.%{NONNEGINT:priority}>"),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid}\])?"),
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("TIME", r"%{HOUR}:%{MINUTE}:%{SECOND}"),
    ("TIMESTAMP_ISO8601", r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?"),
    ("TTY", r"/dev/(?:pts|tty[pq]?)\w*/?[0-9]+"),
    ("TZ", r"[PMCE][SD]T|UTC"),
    ("UNIXPATH", r"(?:/(?:[\w%!$@:.,-]|\\.)*)+"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
    ("URIHOST", r"%{IPORHOST}(?::%{POSINT:port})?"),
    ("URIPARAM", r"\?[0-9A-Za-z$.+!*'|(){},~@#%&/=:;_?\-\[\]]*"),
    ("URIPATH", r"(?:/[0-9A-Za-z$.+!*'(){},~:;=@#%_\-]*)+"),
    ("URIPATHPARAM", r"%{URIPATH}(?:%{URIPARAM})?"),
    ("URIPROTO", r"[A-Za-z]+(?:\+[A-Za-z+]+)?"),
    ("USER", r"%{USERNAME}"),
    ("USERNAME", r"[0-9A-Za-z._-]+"),
    ("UUID", r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
    ("WINDOWSMAC", r"(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("WORD", r"\b\w+\b"),
    ("YEAR", r"(?:[0-9]{2}){1,2}"),
];

/// Pieces that only the expressions above use.
pub(crate) fn piece(name: &str) -> Option<&'static str> {
    match name {
        "HEXTET" => Some("[0-9A-Fa-f]{1,4}"),
        "OCTET" => Some("(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"),
        _ => None,
    }
}
