//! The records that `penstock demo oci` sends: what OCI writes when an instance is rebooted, when somebody knocks at its SSH port,
//! and what a subnet sees all day. Pure: the time is an argument, and everything else comes from a seed, so that the same seed
//! makes the same records on every machine and in every version.
//!
//! Their fields are those of OCI's audit events (version 2) and VCN flow logs (version 2). What the server says of a record itself
//! (`oracle.compartmentid`, `loggroupid`, `logid`, `tenantid`, `ingestedtime`) is left to it.

use std::net::{IpAddr, Ipv4Addr};

use event::Time;
use serde_json::{Value, json};

use crate::control::oci::stamp;

/// Where the records say that they happened.
#[derive(Debug, Clone)]
pub struct Place {
    /// OCID of the tenancy.
    pub tenancy: String,
    /// OCID of the compartment of the instances and their network.
    pub compartment: String,
    /// The region, as OCIDs have it.
    pub region: String,
}

/// Which log a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// `_Audit`
    Audit,
    /// The flow log of the subnet.
    Flow,
}

/// Random numbers that are the same for the same seed, for ever: SplitMix64. That of the `rand` crate is free to change.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to, but without, `to`.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % (to - from)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.between(0, all.len() as u64) as usize]
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.roll()));
        }
        text.truncate(digits);
        text
    }

    fn uuid(&mut self) -> String {
        let bits = u128::from(self.roll()) << 64 | u128::from(self.roll());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

/// The instance, user and network that the records are about; the same names give the same OCIDs each time.
struct Scenery<'a> {
    place: &'a Place,
}

impl Scenery<'_> {
    /// An OCID for something that is not kept anywhere: made of its name.
    fn ocid(&self, kind: &str, name: &str) -> String {
        let digest = blake3::hash(format!("{}/{kind}/{name}", self.place.compartment).as_bytes()).to_hex();
        format!("ocid1.{kind}.oc1.{}.{}", self.place.region, &digest[..32])
    }

    fn user(&self) -> String {
        let digest = blake3::hash(format!("{}/user", self.place.tenancy).as_bytes()).to_hex();
        format!("ocid1.user.oc1..{}", &digest[..32])
    }
}

/// A soft reboot of an instance: the beginning and the end of one action, which share their `eventGroupingId`. The end is at `at`.
pub fn reboot(place: &Place, name: &str, at: Time, dice: &mut Dice) -> Vec<Value> {
    let scenery = Scenery { place };
    let session = format!("csid{}", dice.hex(24));
    let grouping = format!("{session}/{}", dice.hex(32).to_uppercase());
    let instance = scenery.ocid("instance", name);
    let begun = at.saturating_add_nanos(-(REBOOT_SECS * SECOND));
    let event = |phase: &str, at: Time, message: &str, states: (&str, &str), id: String, request: String| {
        let resource = json!({ "resourceName": name, "id": instance });
        let data = json!({
            "additionalDetails": {
                "imageId": scenery.ocid("image", "linux"), "shape": "VM.Standard.E4.Flex", "type": "CustomerVmi",
                "volumeId": null,
            },
            "availabilityDomain": "AD1",
            "compartmentId": place.compartment,
            "compartmentName": "lab",
            "definedTags": {},
            "eventGroupingId": grouping,
            "eventName": "InstanceAction",
            "freeformTags": {},
            "identity": identity(&scenery, &session),
            "message": format!("{name} InstanceAction {message}"),
            "request": {
                "action": "POST",
                "headers": { "Content-Type": ["application/json"], "opc-request-id": [grouping] },
                "id": request,
                "parameters": { "action": ["SOFTRESET"] },
                "path": format!("/20160918/instances/{instance}"),
            },
            "resourceId": instance,
            "response": {
                "headers": { "opc-request-id": [request] }, "message": null, "payload": resource,
                "responseTime": stamp(at), "status": "200",
            },
            "stateChange": { "previous": { "lifecycleState": states.0 }, "current": { "lifecycleState": states.1 } },
        });
        audit(&format!("com.oraclecloud.ComputeApi.InstanceAction.{phase}"), name, at, &id, &data)
    };
    let mut request = || (dice.uuid(), format!("{grouping}/{}", dice.hex(32).to_uppercase()));
    let ((first, first_request), (second, second_request)) = (request(), request());
    vec![
        event("begin", begun, "succeeded", ("RUNNING", "STOPPING"), first, first_request),
        event("end", at, "succeeded", ("STARTING", "RUNNING"), second, second_request),
    ]
}

/// How long a reboot takes.
const REBOOT_SECS: i64 = 42;
const SECOND: i64 = 1_000_000_000;

/// Somebody connects to a machine by SSH: the way there and the way back, both let through.
pub fn ssh(place: &Place, from: IpAddr, to: IpAddr, at: Time, dice: &mut Dice) -> Vec<Value> {
    let port = dice.between(32_768, 61_000) as u16;
    let (packets, bytes) = (dice.between(5, 12), dice.between(400, 900));
    let (there, back) = (Traffic { packets, bytes }, Traffic { packets: packets - 1, bytes: bytes * 3 });
    let window = Window::around(at, dice);
    vec![
        flow(place, window, Verdict::Accept, TCP, (from, port), (to, 22), there, to, dice),
        flow(place, window, Verdict::Accept, TCP, (to, 22), (from, port), back, to, dice),
    ]
}

/// What a subnet sees all day: visitors of a web server, names being resolved, scanners that are turned away, quiet minutes; and
/// somebody at the console.
pub struct Day<'a> {
    place: &'a Place,
    dice: Dice,
    /// The answer to what was just seen.
    next: Option<Answer>,
}

struct Answer {
    protocol: Protocol,
    from: (IpAddr, u16),
    to: (IpAddr, u16),
    traffic: Traffic,
    vnic: IpAddr,
}

impl<'a> Day<'a> {
    /// A day of this seed.
    pub fn new(place: &'a Place, seed: u64) -> Day<'a> {
        Day { place, dice: Dice::new(seed), next: None }
    }

    /// The next record, as of `at`.
    pub fn next(&mut self, at: Time) -> (Log, Value) {
        let window = Window::around(at, &mut self.dice);
        if let Some(answer) = self.next.take() {
            let Answer { protocol, from, to, traffic, vnic } = answer;
            let record = flow(self.place, window, Verdict::Accept, protocol, from, to, traffic, vnic, &mut self.dice);
            return (Log::Flow, record);
        }
        match self.dice.between(0, 100) {
            0..6 => (Log::Audit, self.console(at)),
            6..13 => (Log::Flow, self.quiet("NoData", "NODATA", window)),
            13..14 => (Log::Flow, self.quiet("SkipData", "SKIPDATA", window)),
            14..44 => (Log::Flow, self.scanner(window)),
            44..78 => (Log::Flow, self.visitor(window)),
            78..92 => (Log::Flow, self.resolving(window)),
            92..96 => (Log::Flow, self.ping(window)),
            _ => (Log::Flow, self.own(window)),
        }
    }

    /// Someone of the internet who tries doors.
    fn scanner(&mut self, window: Window) -> Value {
        let from = self.stranger();
        let (_, machine) = *self.dice.one_of(MACHINES);
        let to = IpAddr::V4(machine);
        let port = *self.dice.one_of(&[22, 22, 23, 445, 1433, 2375, 3306, 3389, 5900, 6379, 8080, 9200]);
        // SSH is open to the world here, so that the scanner's attempts on it get through.
        let verdict = if port == 22 { Verdict::Accept } else { Verdict::Reject };
        let traffic = Traffic { packets: self.dice.between(1, 4), bytes: self.dice.between(40, 200) };
        let source = (from, self.dice.between(1_024, 65_536) as u16);
        flow(self.place, window, verdict, TCP, source, (to, port), traffic, to, &mut self.dice)
    }

    /// A visitor of the web server, who is answered.
    fn visitor(&mut self, window: Window) -> Value {
        let visitor = (self.stranger(), self.dice.between(32_768, 61_000) as u16);
        let port = *self.dice.one_of(&[443, 443, 443, 80]);
        let server = (IpAddr::V4(WEB), port);
        let asked = Traffic { packets: self.dice.between(6, 40), bytes: self.dice.between(600, 9_000) };
        let answered = Traffic { packets: asked.packets + 4, bytes: asked.bytes * self.dice.between(3, 30) };
        self.next = Some(Answer { protocol: TCP, from: server, to: visitor, traffic: answered, vnic: IpAddr::V4(WEB) });
        flow(self.place, window, Verdict::Accept, TCP, visitor, server, asked, server.0, &mut self.dice)
    }

    /// A machine that asks OCI's resolver.
    fn resolving(&mut self, window: Window) -> Value {
        let (_, machine) = *self.dice.one_of(MACHINES);
        let asker = (IpAddr::V4(machine), self.dice.between(32_768, 61_000) as u16);
        let resolver = (IpAddr::V4(RESOLVER), 53);
        let asked = Traffic { packets: 1, bytes: self.dice.between(60, 110) };
        let answered = Traffic { packets: 1, bytes: self.dice.between(90, 480) };
        self.next = Some(Answer { protocol: UDP, from: resolver, to: asker, traffic: answered, vnic: asker.0 });
        flow(self.place, window, Verdict::Accept, UDP, asker, resolver, asked, asker.0, &mut self.dice)
    }

    fn ping(&mut self, window: Window) -> Value {
        let (from, (_, machine)) = (self.stranger(), *self.dice.one_of(MACHINES));
        let to = IpAddr::V4(machine);
        let packets = self.dice.between(1, 6);
        let traffic = Traffic { packets, bytes: packets * 84 };
        let verdict = *self.dice.one_of(&[Verdict::Accept, Verdict::Reject]);
        flow(self.place, window, verdict, ICMP, (from, 0), (to, 0), traffic, to, &mut self.dice)
    }

    /// The web server and the database beside it.
    fn own(&mut self, window: Window) -> Value {
        let asker = (IpAddr::V4(WEB), self.dice.between(32_768, 61_000) as u16);
        let database = (IpAddr::V4(DATABASE), 5432);
        let asked = Traffic { packets: self.dice.between(4, 60), bytes: self.dice.between(400, 20_000) };
        let answered = Traffic { packets: asked.packets, bytes: asked.bytes * self.dice.between(1, 9) };
        self.next = Some(Answer { protocol: TCP, from: database, to: asker, traffic: answered, vnic: database.0 });
        flow(self.place, window, Verdict::Accept, TCP, asker, database, asked, asker.0, &mut self.dice)
    }

    /// A minute of a machine without traffic, or without room to write all of it down.
    fn quiet(&mut self, kind: &str, status: &str, window: Window) -> Value {
        let (_, machine) = *self.dice.one_of(MACHINES);
        let data = json!({
            "action": null, "bytesOut": null, "destinationAddress": null, "destinationPort": null,
            "endTime": window.end, "flowid": null, "packets": null, "protocol": null, "protocolName": null,
            "sourceAddress": null, "sourcePort": null, "startTime": window.start, "status": status, "version": "2",
        });
        let kind = format!("com.oraclecloud.vcn.flowlogs.QualityEvent.{kind}");
        flow_record(self.place, &kind, window, &data, IpAddr::V4(machine), &mut self.dice)
    }

    /// Somebody looks at things, or changes one.
    fn console(&mut self, at: Time) -> Value {
        let scenery = Scenery { place: self.place };
        let (name, _) = *self.dice.one_of(MACHINES);
        let (service, event, kind, action) = *self.dice.one_of(&[
            ("ComputeApi", "GetInstance", "instance", "GET"),
            ("ComputeApi", "GetInstance", "instance", "GET"),
            ("ComputeApi", "ListInstances", "instance", "GET"),
            ("ComputeApi", "ListVnicAttachments", "vnicattachment", "GET"),
            ("ComputeApi", "UpdateInstance", "instance", "PUT"),
            ("VirtualNetwork", "GetSubnet", "subnet", "GET"),
            ("VirtualNetwork", "UpdateSecurityList", "securitylist", "PUT"),
        ]);
        let session = format!("csid{}", self.dice.hex(24));
        let grouping = format!("{session}/{}", self.dice.hex(32).to_uppercase());
        let request = format!("{grouping}/{}", self.dice.hex(32).to_uppercase());
        let resource = scenery.ocid(kind, name);
        let status = *self.dice.one_of(&["200", "200", "200", "200", "404", "429"]);
        let outcome = if status == "200" { "succeeded" } else { "failed" };
        let data = json!({
            "additionalDetails": null,
            "availabilityDomain": "AD1",
            "compartmentId": self.place.compartment,
            "compartmentName": "lab",
            "definedTags": {},
            "eventGroupingId": grouping,
            "eventName": event,
            "freeformTags": {},
            "identity": identity(&scenery, &session),
            "message": format!("{name} {event} {outcome}"),
            "request": {
                "action": action, "headers": { "opc-request-id": [grouping] }, "id": request, "parameters": {},
                "path": format!("/20160918/{kind}s/{resource}"),
            },
            "resourceId": resource,
            "response": {
                "headers": { "opc-request-id": [request] }, "message": null, "payload": {},
                "responseTime": stamp(at), "status": status,
            },
            "stateChange": { "current": null, "previous": null },
        });
        audit(&format!("com.oraclecloud.{service}.{event}"), name, at, &self.dice.uuid(), &data)
    }

    /// An address of the internet, out of those that are kept free for examples.
    fn stranger(&mut self) -> IpAddr {
        let [a, b, c] = *self.dice.one_of(&[[198, 51, 100], [203, 0, 113], [192, 0, 2]]);
        IpAddr::V4(Ipv4Addr::new(a, b, c, self.dice.between(1, 255) as u8))
    }
}

const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 30);
/// OCI's resolver, as every instance sees it.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const MACHINES: &[(&str, Ipv4Addr)] =
    &[("compute-for-log-test", Ipv4Addr::new(10, 0, 2, 121)), ("web", WEB), ("database", DATABASE)];

/// A protocol's number and name.
type Protocol = (u8, &'static str);
const ICMP: Protocol = (1, "ICMP");
const TCP: Protocol = (6, "TCP");
const UDP: Protocol = (17, "UDP");

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Accept,
    Reject,
}

#[derive(Debug, Clone, Copy)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

/// What one flow record covers: at most a minute, in whole seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: i64,
    end: i64,
}

impl Window {
    /// The minute before `at`. How much of it is drawn, so that the same seed does not depend on the time.
    fn around(at: Time, dice: &mut Dice) -> Window {
        let start = at.secs() - dice.between(20, 60) as i64;
        Window { start, end: at.secs() }
    }
}

fn flow(
    place: &Place,
    window: Window,
    verdict: Verdict,
    protocol: Protocol,
    (source, source_port): (IpAddr, u16),
    (destination, destination_port): (IpAddr, u16),
    traffic: Traffic,
    vnic: IpAddr,
    dice: &mut Dice,
) -> Value {
    let action = match verdict {
        Verdict::Accept => "ACCEPT",
        Verdict::Reject => "REJECT",
    };
    let data = json!({
        "action": action,
        "bytesOut": traffic.bytes,
        "destinationAddress": destination.to_string(),
        "destinationPort": destination_port,
        "endTime": window.end,
        "flowid": dice.hex(8),
        "packets": traffic.packets,
        "protocol": protocol.0,
        "protocolName": protocol.1,
        "sourceAddress": source.to_string(),
        "sourcePort": source_port,
        "startTime": window.start,
        "status": "OK",
        "version": "2",
    });
    flow_record(place, "com.oraclecloud.vcn.flowlogs.DataEvent", window, &data, vnic, dice)
}

/// `vnic` is the address of the machine that saw it.
fn flow_record(place: &Place, kind: &str, window: Window, data: &Value, vnic: IpAddr, dice: &mut Dice) -> Value {
    let scenery = Scenery { place };
    json!({
        "data": data,
        "id": dice.hex(8),
        "oracle": {
            "vniccompartmentocid": place.compartment,
            "vnicocid": scenery.ocid("vnic", &vnic.to_string()),
            "vnicsubnetocid": scenery.ocid("subnet", "public-subnet-for-compute"),
        },
        "source": "-",
        "specversion": "1.0",
        "time": stamp(Time::from_secs(window.start).unwrap_or(Time::MAX)),
        "type": kind,
    })
}

fn audit(kind: &str, source: &str, at: Time, id: &str, data: &Value) -> Value {
    json!({
        "data": data,
        "dataschema": "2.0",
        "id": id,
        "source": source,
        "specversion": "1.0",
        "time": stamp(at),
        "type": kind,
    })
}

fn identity(scenery: &Scenery<'_>, session: &str) -> Value {
    json!({
        "authType": "natv", "callerId": null, "callerName": null, "consoleSessionId": session, "credentials": "",
        "ipAddress": "203.0.113.7", "principalId": scenery.user(), "principalName": "lab/user@example.com",
        "tenantId": scenery.place.tenancy, "userAgent": "Mozilla/5.0",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place() -> Place {
        Place {
            tenancy: "ocid1.tenancy.oc1..aaaa".to_owned(),
            compartment: "ocid1.compartment.oc1..bbbb".to_owned(),
            region: "ap-seoul-1".to_owned(),
        }
    }

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn a_reboot_is_two_events_of_one_action() {
        let records = reboot(&place(), "compute-for-log-test", at("2023-10-04T02:03:46.567Z"), &mut Dice::new(1));
        let [begin, end] = records.as_slice() else { panic!("{records:?}") };
        for (record, kind, time, states) in [
            (begin, "begin", "2023-10-04T02:03:04.567Z", ("RUNNING", "STOPPING")),
            (end, "end", "2023-10-04T02:03:46.567Z", ("STARTING", "RUNNING")),
        ] {
            assert_eq!(record["type"], format!("com.oraclecloud.ComputeApi.InstanceAction.{kind}"));
            assert_eq!((&record["source"], &record["time"]), (&json!("compute-for-log-test"), &json!(time)));
            assert_eq!((&record["dataschema"], &record["specversion"]), (&json!("2.0"), &json!("1.0")));
            let change = &record["data"]["stateChange"];
            assert_eq!(change["previous"]["lifecycleState"], states.0);
            assert_eq!(change["current"]["lifecycleState"], states.1);
            assert_eq!(record["data"]["compartmentId"], "ocid1.compartment.oc1..bbbb");
            assert_eq!(record["data"]["request"]["parameters"]["action"], json!(["SOFTRESET"]));
        }
        assert_eq!(begin["data"]["eventGroupingId"], end["data"]["eventGroupingId"]);
        assert_eq!(begin["data"]["resourceId"], end["data"]["resourceId"]);
        assert_ne!(begin["id"], end["id"]);
    }

    #[test]
    fn ssh_is_seen_both_ways() {
        let (from, to) = ("132.145.1.2".parse().unwrap(), "10.0.2.121".parse().unwrap());
        let records = ssh(&place(), from, to, at("2023-10-04T02:03:30Z"), &mut Dice::new(7));
        let ways: Vec<String> = records
            .iter()
            .map(|record| {
                let data = &record["data"];
                assert_eq!(record["source"], "-");
                assert_eq!(record["time"], stamp(Time::from_secs(data["startTime"].as_i64().unwrap()).unwrap()));
                format!(
                    "{} {} {} {}:{} -> {}:{}",
                    record["type"].as_str().unwrap().rsplit('.').next().unwrap(),
                    data["action"].as_str().unwrap(),
                    data["protocolName"].as_str().unwrap(),
                    data["sourceAddress"].as_str().unwrap(),
                    data["sourcePort"],
                    data["destinationAddress"].as_str().unwrap(),
                    data["destinationPort"]
                )
            })
            .collect();
        let port = &records[0]["data"]["sourcePort"];
        assert_eq!(
            ways,
            [
                format!("DataEvent ACCEPT TCP 132.145.1.2:{port} -> 10.0.2.121:22"),
                format!("DataEvent ACCEPT TCP 10.0.2.121:22 -> 132.145.1.2:{port}"),
            ]
        );
    }

    fn day(seed: u64, from: &str) -> Vec<(Log, Value)> {
        let place = place();
        let mut day = Day::new(&place, seed);
        let from = at(from);
        (0..2000).map(|number| day.next(from.saturating_add_nanos(number * 250_000_000))).collect()
    }

    /// Sets every time of a record to nothing.
    fn without_times(record: &mut Value) {
        record["time"] = Value::Null;
        for field in ["startTime", "endTime"] {
            if let Some(time) = record["data"].get_mut(field) {
                *time = Value::Null;
            }
        }
        if let Some(time) = record.pointer_mut("/data/response/responseTime") {
            *time = Value::Null;
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_day_but_for_its_times() {
        assert_eq!(day(1, "2026-11-21T00:00:00Z"), day(1, "2026-11-21T00:00:00Z"));
        let (mut one, mut later) = (day(1, "2026-11-21T00:00:00Z"), day(1, "2027-01-01T00:00:00.5Z"));
        assert_ne!(one, later);
        one.iter_mut().chain(&mut later).for_each(|(_, record)| without_times(record));
        assert_eq!(one, later);
        assert_ne!(day(1, "2026-11-21T00:00:00Z"), day(2, "2026-11-21T00:00:00Z"));
    }

    #[test]
    fn a_seeds_day_does_not_change_with_the_version() {
        let mut hash = blake3::Hasher::new();
        for (_, record) in day(1, "2026-11-21T00:00:00Z") {
            hash.update(record.to_string().as_bytes());
        }
        assert_eq!(&hash.finalize().to_hex()[..16], "445fb177723464c6");
    }

    #[test]
    fn a_day_has_something_of_everything() {
        let mut kinds = BTreeMap::<String, usize>::new();
        for (log, record) in day(42, "2026-11-21T00:00:00Z") {
            for field in ["type", "source", "time", "id", "specversion"] {
                assert!(record[field].is_string(), "{field} of {record}");
            }
            let kind = record["type"].as_str().unwrap();
            assert_eq!(log == Log::Flow, kind.starts_with("com.oraclecloud.vcn.flowlogs."), "{record}");
            let action = record["data"]["action"].as_str().unwrap_or_default();
            let short = if log == Log::Audit { "audit" } else { kind.rsplit('.').next().unwrap() };
            *kinds.entry(format!("{short} {action}")).or_default() += 1;
        }
        for kind in ["DataEvent ACCEPT", "DataEvent REJECT", "NoData ", "SkipData ", "audit "] {
            assert!(kinds.get(kind).is_some_and(|count| *count > 0), "no {kind:?} in {kinds:?}");
        }
    }
}
