//! `penstock demo oci`: what happens in a tenancy while somebody does Oracle's lab, without a tenancy: a reboot, a login, the traffic
//! of a day. The records are made by `records.rs` and go the way of every replay.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use event::Time;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::records::{Day, Dice, Log, Place, reboot, ssh};
use crate::cli::oci::replay::{Destination, Pace, Sent, Stopped, send};
use crate::cli::oci::tenancy::{InstanceArg, Tenancy, only, text};
use crate::cli::output::{Format, say};
use crate::cli::{CliError, Client};
use crate::control::oci::stamp;
use crate::serve;

/// `penstock demo oci`
#[derive(Debug, Subcommand)]
pub enum DemoOciCommand {
    /// Reboot an instance: the two audit events of it
    #[command(after_help = "Example:
  penstock demo oci reboot --name compute-for-log-test")]
    Reboot {
        /// The instance's name, which is the events' source
        #[arg(long)]
        name: String,
        /// The compartment that it is in, by OCID or name [default: the root]
        #[arg(long)]
        compartment: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// Connect to an instance by SSH: the two flow log records of it
    #[command(after_help = "Example:
  penstock demo oci ssh --from 132.145.1.2 --to 10.0.2.121")]
    Ssh {
        /// From which address
        #[arg(long, value_name = "IP")]
        from: IpAddr,
        /// To which address, in the subnet
        #[arg(long, value_name = "IP", default_value = "10.0.2.121")]
        to: IpAddr,
        #[command(flatten)]
        log: FlowLog,
    },
    /// A stream as of a subnet with a web server: accepted and rejected flows, quiet minutes, and audit events of a console
    #[command(after_help = "Examples:
  penstock demo oci traffic --count 5000 --seed 1
  penstock demo oci traffic --count 36000 --rate 10         an hour of it, as it happens

The same seed makes the same records but for their times. Without --rate they are sent at once, and lie a quarter of a second \
apart up to now.")]
    Traffic {
        /// What the records are made from [default: a new one, which is printed]
        #[arg(long)]
        seed: Option<u64>,
        /// How many records
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
        /// Records a second
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        #[command(flatten)]
        log: FlowLog,
    },
}

/// Which flow log is meant.
#[derive(Debug, Clone, Args)]
pub struct FlowLog {
    /// The flow log, by OCID or name [default: the only one there is]
    #[arg(long)]
    log: Option<String>,
    /// The compartment of the log and of what it tells about, by OCID or name [default: any]
    #[arg(long)]
    compartment: Option<String>,
    #[command(flatten)]
    instance: InstanceArg,
}

/// The time between two records that are not sent as they happen.
const APART_NANOS: i64 = 250_000_000;

/// `penstock demo oci`
pub async fn run(client: &Client, command: DemoOciCommand) -> Result<(), CliError> {
    match command {
        DemoOciCommand::Reboot { name, compartment, instance } => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let compartment = tenancy.compartment(compartment.as_deref()).await?;
            let place = place(&tenancy, compartment, None);
            let records = reboot(&place, &name, serve::now(), &mut Dice::new(rand::random()));
            let to = Destination::audit(&place.compartment);
            let sent = send_all(&tenancy, &to, &records).await?;
            tell(client, &records, &[(to.name, sent)], &name);
        }
        DemoOciCommand::Ssh { from, to, log } => {
            let tenancy = Tenancy::open(client, &log.instance).await?;
            let found = flow_log(&tenancy, &log).await?;
            let place = place(&tenancy, text(&found, "compartmentId").to_owned(), Some(text(&found, "id")));
            let records = ssh(&place, from, to, serve::now(), &mut Dice::new(rand::random()));
            let destination = Destination::log(text(&found, "id"), text(&found, "displayName"));
            let sent = send_all(&tenancy, &destination, &records).await?;
            tell(client, &records, &[(destination.name, sent)], &from.to_string());
        }
        DemoOciCommand::Traffic { seed, count, rate, log } => {
            let tenancy = Tenancy::open(client, &log.instance).await?;
            let found = flow_log(&tenancy, &log).await?;
            let place = place(&tenancy, text(&found, "compartmentId").to_owned(), Some(text(&found, "id")));
            let flow = Destination::log(text(&found, "id"), text(&found, "displayName"));
            // A seed of few digits is one that can be typed again.
            let seed = seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
            let sent = traffic(&tenancy, &place, &flow, seed, count, rate).await?;
            let seed_flag = match client.format {
                Format::Table => format!("Seed {seed}; `--seed {seed}` makes the same records again."),
                _ => String::new(),
            };
            client.format.remark(&seed_flag);
            tell(client, &[], &sent, "REJECT");
        }
    }
    Ok(())
}

async fn traffic(
    tenancy: &Tenancy<'_>,
    place: &Place,
    flow: &Destination,
    seed: u64,
    count: u64,
    rate: Option<u32>,
) -> Result<Vec<(String, Sent)>, CliError> {
    let audit = Destination::audit(&place.compartment);
    let (mut flows, mut audits) = (Sent::default(), Sent::default());
    let pace = Pace::new(rate);
    let mut day = Day::new(place, seed);
    let (mut made, began) = (0, serve::now());
    while made < count {
        let together = (pace.together() as u64).min(count - made);
        pace.wait(made).await;
        let mut records = Vec::new();
        for number in made..made + together {
            let at = match rate {
                Some(_) => serve::now(),
                None => began.saturating_add_nanos(-APART_NANOS.saturating_mul((count - 1 - number) as i64)),
            };
            records.push(day.next(at));
        }
        for (log, to, sent) in [(Log::Flow, flow, &mut flows), (Log::Audit, &audit, &mut audits)] {
            let of_log: Vec<&Value> = records.iter().filter(|(of, _)| *of == log).map(|(_, record)| record).collect();
            send_into(tenancy, to, &of_log, sent).await?;
        }
        made += together;
    }
    Ok(vec![(flow.name.clone(), flows), (audit.name, audits)])
}

async fn send_all(tenancy: &Tenancy<'_>, to: &Destination, records: &[Value]) -> Result<Sent, CliError> {
    let mut sent = Sent::default();
    send_into(tenancy, to, &records.iter().collect::<Vec<_>>(), &mut sent).await?;
    Ok(sent)
}

async fn send_into(
    tenancy: &Tenancy<'_>,
    to: &Destination,
    records: &[&Value],
    sent: &mut Sent,
) -> Result<(), CliError> {
    if records.is_empty() {
        return Ok(());
    }
    let records: Vec<Vec<u8>> = records.iter().map(|record| record.to_string().into_bytes()).collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    send(tenancy, to, &records, sent).await.map_err(|stopped| match stopped {
        Stopped::Record(_, error) | Stopped::Error(error) => error,
    })
}

/// Where the records say that they happened; the region is that of the log they go to.
fn place(tenancy: &Tenancy<'_>, compartment: String, log: Option<&str>) -> Place {
    let region = log.and_then(|ocid| ocid.split('.').nth(3)).filter(|region| !region.is_empty());
    Place { tenancy: tenancy.ocid(), compartment, region: region.unwrap_or(REGION_DEFAULT).to_owned() }
}

/// Stands in the OCIDs of things that are in no log's region.
const REGION_DEFAULT: &str = "us-ashburn-1";

/// The flow log that is meant.
async fn flow_log(tenancy: &Tenancy<'_>, args: &FlowLog) -> Result<Value, CliError> {
    let logs = tenancy.logs(args.compartment.as_deref()).await?;
    if let Some(named) = &args.log {
        return only(&logs, "displayName", "log", named).cloned();
    }
    let flow: Vec<&Value> = logs.iter().filter(|log| log["configuration"]["source"]["service"] == "flowlogs").collect();
    match flow.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(CliError::Refused(
            "there is no flow log, which is a log of the service `flowlogs`; `oci logging log create` makes one, and --log \
             takes any other"
                .to_owned(),
        )),
        several => {
            let names: Vec<String> =
                several.iter().map(|log| format!("{} {}", text(log, "displayName"), text(log, "id"))).collect();
            Err(CliError::Usage(format!("there are several flow logs; name one with --log:\n  {}", names.join("\n  "))))
        }
    }
}

/// Says what was sent, and how it is found.
fn tell(client: &Client, records: &[Value], sent: &[(String, Sent)], needle: &str) {
    let server =
        if client.base() == "http://127.0.0.1:8480" { String::new() } else { format!(" --server {}", client.base()) };
    let find = format!("{} search raw '{needle}'{server}", serve::program());
    if client.format != Format::Table {
        let logs: Vec<Value> = sent
            .iter()
            .map(|(log, sent)| json!({ "log": log, "records": sent.records, "batches": sent.batches }))
            .collect();
        client.format.one(&json!({ "sent": logs, "records": records, "find": find }));
        return;
    }
    for (log, sent) in sent {
        let noun = if sent.records == 1 { "record" } else { "records" };
        say(&format!("Sent {} {noun} to {log}.", HumanCount(sent.records)));
    }
    for record in records {
        say(&format!("  {}", line(record)));
    }
    say(&format!("Find them:\n  {find}"));
}

/// What a record says, in one line.
fn line(record: &Value) -> String {
    let data = &record["data"];
    let kind = text(record, "type").trim_start_matches("com.oraclecloud.");
    let what = match data["action"].as_str() {
        Some(action) => format!(
            "{action} {} {}:{} -> {}:{}",
            text(data, "protocolName"),
            text(data, "sourceAddress"),
            data["sourcePort"],
            text(data, "destinationAddress"),
            data["destinationPort"]
        ),
        None => text(data, "message").to_owned(),
    };
    let at = text(record, "time").parse::<Time>().map_or_else(|_| text(record, "time").to_owned(), stamp);
    format!("{at}  {kind}  {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_in_a_line() {
        let place = Place {
            tenancy: "ocid1.tenancy.oc1..a".to_owned(),
            compartment: "ocid1.compartment.oc1..b".to_owned(),
            region: "r".to_owned(),
        };
        let at: Time = "2026-11-21T12:00:00Z".parse().unwrap();
        let dice = &mut Dice::new(1);
        let (from, to) = ("132.145.1.2".parse().unwrap(), "10.0.2.121".parse().unwrap());
        let records = [reboot(&place, "vm", at, dice), ssh(&place, from, to, at, dice)].concat();
        let lines: Vec<String> = records.iter().map(line).collect();
        assert!(lines[0].ends_with("ComputeApi.InstanceAction.begin  vm InstanceAction succeeded"), "{lines:?}");
        assert!(lines[2].contains("ACCEPT TCP 132.145.1.2:") && lines[2].ends_with("-> 10.0.2.121:22"), "{lines:?}");
        assert!(lines[3].ends_with(&format!("-> 132.145.1.2:{}", records[2]["data"]["sourcePort"])), "{lines:?}");
    }
}
