//! What the names of fields mean, in JSON, CEF, LEEF and plain pairs alike.
//!
//! Spellings are one: case, `_`, `-` and `@` do not count, and a dot is a step into an object. So `src_ip`, `srcIp`,
//! `source.ip` and `{"source": {"ip": …}}` are the same. Only names whose meaning does not depend on the product are here; a
//! name like `hostname` means less inside of a URL or a request than at the top ([`Place`]).

/// Longest name that can mean something.
const NAME_BYTES_MAX: usize = 32;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// When it happened: all of it, or a date or a time of day alone.
    Time,
    /// The zone of times that do not say theirs.
    Zone,
    /// Who reports.
    Reporter,
    ReporterIp,
    /// Who did it, or where it came from.
    SourceHost,
    SourceIp,
    SourcePort,
    SourceUser,
    /// To whom it was done, or where it went.
    TargetHost,
    TargetIp,
    TargetPort,
    TargetUser,
    /// An address, if the value is one, without a role.
    OtherIp,
    Action,
    Severity,
    Message,
}

/// Where in a record a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many objects are around it, the record's own not counted.
    pub(super) depth: u8,
    side: Side,
    parent: Parent,
}

/// Whose fields are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Nobody,
    Source,
    Target,
    /// Those of something that has hosts and users of its own, which are not the event's.
    Foreign,
}

/// What the object is that is next around a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Host,
    User,
    Other,
}

impl Place {
    /// The fields of the record itself.
    pub(super) const TOP: Place = Place { depth: 0, side: Side::Nobody, parent: Parent::Other };

    /// What the field `key` of the object here holds, how well that name fits (0 is best), and where the fields in it stand.
    pub(super) fn read(self, key: &str) -> (Option<(Name, u8)>, Place) {
        let mut place = self;
        let mut named = None;
        for part in key.split('.') {
            let mut buffer = [0; NAME_BYTES_MAX];
            let Some(part) = plain(part, &mut buffer) else {
                (named, place) = (None, Place { parent: Parent::Other, ..place });
                continue;
            };
            (named, place) = (place.name(part), place.enter(part));
        }
        (named, Place { depth: self.depth + 1, ..place })
    }

    fn enter(self, part: &[u8]) -> Place {
        let side = match part {
            b"source" | b"src" | b"client" | b"actor" | b"caller" | b"initiator" | b"principal" => Side::Source,
            b"destination" | b"dest" | b"dst" | b"target" | b"server" => Side::Target,
            b"url" | b"uri" | b"http" | b"request" | b"response" | b"headers" | b"requestheaders"
            | b"requestparameters" | b"responseelements" | b"dns" | b"tls" | b"ssl" | b"certificate" => Side::Foreign,
            _ => self.side,
        };
        let parent = match part {
            b"host" => Parent::Host,
            b"user" | b"useridentity" | b"account" => Parent::User,
            _ => Parent::Other,
        };
        Place { side, parent, ..self }
    }

    fn name(self, part: &[u8]) -> Option<(Name, u8)> {
        if let Some(found) = always(part).or_else(|| self.anywhere(part)) {
            return Some(found);
        }
        if let Some((side, rest)) = sided(part) {
            let place = Place { side, parent: Parent::Other, ..self };
            if rest.is_empty() {
                return Some((if side == Side::Source { Name::SourceIp } else { Name::TargetIp }, 1));
            }
            if let Some(found) = place.bare(rest) {
                return Some(found);
            }
        }
        let found = self.bare(part);
        found.or_else(|| ends_like_an_address(part).then_some((Name::OtherIp, 0)))
    }

    /// Names that mean the same for every side, but less the deeper they are.
    fn anywhere(self, part: &[u8]) -> Option<(Name, u8)> {
        Some(match part {
            b"timestamp" | b"time" | b"ts" | b"eventtime" | b"eventtimestamp" | b"eventdate" | b"datetime" | b"rt"
            | b"devicetime" | b"devtime" | b"logtime" | b"timegenerated" | b"timecreated" | b"utctime"
            | b"systemtime" => (Name::Time, 0),
            b"published" | b"end" | b"endtime" => (Name::Time, 1),
            b"start" | b"starttime" => (Name::Time, 2),
            // What was made earlier may be anything but the event, unless the record says it of itself.
            b"date" | b"created" | b"createdat" | b"creationtime" | b"createdtime" | b"createddatetime"
                if self.depth == 0 =>
            {
                (Name::Time, 3)
            }
            b"tz" | b"timezone" if self.depth == 0 => (Name::Zone, 0),
            b"action" | b"act" | b"deviceaction" | b"policyaction" => (Name::Action, 0),
            b"outcome" | b"disposition" => (Name::Action, 1),
            b"severity" => (Name::Severity, 0),
            b"message" | b"msg" | b"logmessage" => (Name::Message, 0),
            b"log" => (Name::Message, 1),
            _ => return None,
        })
    }

    /// Names whose side is that of the objects around them.
    fn bare(self, part: &[u8]) -> Option<(Name, u8)> {
        let (of_source, of_target, of_nobody, rank) = match part {
            b"ip" | b"ipaddress" | b"ipaddr" | b"address" | b"addr" | b"ipv4" | b"ipv6" => {
                let of_nobody = if self.parent == Parent::Host { Name::ReporterIp } else { Name::OtherIp };
                (Name::SourceIp, Name::TargetIp, Some(of_nobody), 0)
            }
            b"port" | b"portnumber" => (Name::SourcePort, Name::TargetPort, None, 0),
            b"user" | b"username" | b"usrname" => (Name::SourceUser, Name::TargetUser, Some(Name::SourceUser), 1),
            b"userid" | b"accountname" => (Name::SourceUser, Name::TargetUser, Some(Name::SourceUser), 2),
            b"name" if self.parent == Parent::User => (Name::SourceUser, Name::TargetUser, Some(Name::SourceUser), 1),
            b"id" if self.parent == Parent::User => (Name::SourceUser, Name::TargetUser, Some(Name::SourceUser), 2),
            b"computer" | b"computername" | b"devicename" | b"devicehostname" | b"devname" => {
                (Name::SourceHost, Name::TargetHost, Some(Name::Reporter), 0)
            }
            b"host" | b"hostname" => (Name::SourceHost, Name::TargetHost, Some(Name::Reporter), 1),
            b"name" if self.parent == Parent::Host => (Name::SourceHost, Name::TargetHost, Some(Name::Reporter), 1),
            _ => return None,
        };
        let name = match self.side {
            Side::Source => Some(of_source),
            Side::Target => Some(of_target),
            Side::Nobody => of_nobody,
            Side::Foreign => None,
        };
        name.map(|name| (name, rank))
    }
}

/// Short names of CEF, firewalls and Windows, which are nothing else anywhere.
fn always(part: &[u8]) -> Option<(Name, u8)> {
    Some(match part {
        b"shost" => (Name::SourceHost, 0),
        b"spt" => (Name::SourcePort, 0),
        // Beside an actor, a user may be the one to whom it was done.
        b"suser" | b"subjectusername" | b"actor" => (Name::SourceUser, 0),
        b"dhost" => (Name::TargetHost, 0),
        b"dpt" => (Name::TargetPort, 0),
        b"duser" => (Name::TargetUser, 0),
        b"dvchost" => (Name::Reporter, 0),
        b"dvc" | b"dvcip" | b"deviceip" | b"devip" | b"deviceaddress" | b"hostip" => (Name::ReporterIp, 0),
        _ => return None,
    })
}

/// A side and the rest of a name that begins with it.
fn sided(part: &[u8]) -> Option<(Side, &[u8])> {
    const SIDES: [(&[u8], Side); 10] = [
        (b"source", Side::Source),
        (b"src", Side::Source),
        (b"client", Side::Source),
        (b"actor", Side::Source),
        (b"caller", Side::Source),
        (b"destination", Side::Target),
        (b"dest", Side::Target),
        (b"dst", Side::Target),
        (b"target", Side::Target),
        (b"server", Side::Target),
    ];
    SIDES.iter().find_map(|(side, of)| part.strip_prefix(*side).map(|rest| (*of, rest)))
}

fn ends_like_an_address(part: &[u8]) -> bool {
    const ENDS: [&[u8]; 6] = [b"ip", b"ips", b"addr", b"address", b"ipv4", b"ipv6"];
    ENDS.iter().any(|end| part.ends_with(end))
}

/// A part of a name without what does not count; `None` when it is too long to mean anything, or empty.
fn plain<'b>(part: &str, buffer: &'b mut [u8; NAME_BYTES_MAX]) -> Option<&'b [u8]> {
    let mut length = 0;
    for byte in part.bytes() {
        if matches!(byte, b'_' | b'-' | b'@' | b' ') {
            continue;
        }
        *buffer.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    (length > 0).then_some(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_and_places() {
        for (path, expected) in [
            (&["src_ip"] as &[&str], Some(Name::SourceIp)),
            (&["srcIp"], Some(Name::SourceIp)),
            (&["src"], Some(Name::SourceIp)),
            (&["sourceIPAddress"], Some(Name::SourceIp)),
            (&["source.ip"], Some(Name::SourceIp)),
            (&["client", "ipAddress"], Some(Name::SourceIp)),
            (&["destination-address"], Some(Name::TargetIp)),
            (&["id.orig_h"], None),
            (&["ip"], Some(Name::OtherIp)),
            (&["remote_addr"], Some(Name::OtherIp)),
            (&["host", "ip"], Some(Name::ReporterIp)),
            (&["host.name"], Some(Name::Reporter)),
            (&["hostname"], Some(Name::Reporter)),
            (&["http", "request", "host"], None),
            (&["target", "hostname"], Some(Name::TargetHost)),
            (&["user"], Some(Name::SourceUser)),
            (&["user", "name"], Some(Name::SourceUser)),
            (&["destination", "user", "name"], Some(Name::TargetUser)),
            (&["TargetUserName"], Some(Name::TargetUser)),
            (&["requestParameters", "userName"], None),
            (&["name"], None),
            (&["sourcetype"], None),
            (&["@timestamp"], Some(Name::Time)),
            (&["created"], Some(Name::Time)),
            (&["policy", "created"], None),
            (&["event.action"], Some(Name::Action)),
            (&["a_name_that_is_much_longer_than_any_that_means_something"], None),
            (&[""], None),
            (&["."], None),
        ] {
            let (mut named, mut place) = (None, Place::TOP);
            for key in path {
                (named, place) = place.read(key);
            }
            assert_eq!(named.map(|(name, _)| name), expected, "{path:?}");
        }
    }
}
