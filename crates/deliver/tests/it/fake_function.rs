//! A function that does as it is told: what the binary's `Invoke` is to the connectors.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deliver::{ConnectorId, FunctionAnswer, FunctionCall, Invoke, RunEntry, RunLog, Surroundings};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::world::{INSTANCE, World};

type Rule = Box<dyn Fn(&FunctionCall) -> Told + Send>;

/// What it is to do with one call.
#[derive(Clone)]
pub enum Told {
    Answer(FunctionAnswer),
    /// Answers when it is let go.
    Held(Arc<Notify>, FunctionAnswer),
    /// Never answers.
    Silent,
}

pub struct Function {
    script: Mutex<VecDeque<Told>>,
    rule: Mutex<Rule>,
    calls: watch::Sender<Vec<FunctionCall>>,
    entries: Mutex<Vec<(ConnectorId, RunEntry)>>,
}

pub fn ok() -> Told {
    answered(200, "")
}

pub fn answered(status: u16, body: &'static str) -> Told {
    let call_id = "01CALL".to_owned();
    Told::Answer(FunctionAnswer::Answered {
        call_id,
        status,
        body: Bytes::from_static(body.as_bytes()),
        suspicious: None,
    })
}

pub fn suspicious(note: &str) -> Told {
    let (call_id, suspicious) = ("01CALL".to_owned(), Some(note.to_owned()));
    Told::Answer(FunctionAnswer::Answered { call_id, status: 200, body: Bytes::new(), suspicious })
}

pub fn failed(status: Option<u16>, why: &str) -> Told {
    Told::Answer(FunctionAnswer::Failed { call_id: Some("01CALL".to_owned()), status, why: why.to_owned() })
}

pub fn unknown(why: &str) -> Told {
    Told::Answer(FunctionAnswer::Unknown { why: why.to_owned() })
}

impl Told {
    pub fn held(self, until: &Arc<Notify>) -> Told {
        match self {
            Told::Answer(answer) => Told::Held(until.clone(), answer),
            other => other,
        }
    }
}

impl Function {
    /// A world in which every call comes here, and every entry of a run log, too.
    pub fn of(world: &mut World) -> Arc<Function> {
        let function = Arc::new(Function {
            script: Mutex::default(),
            rule: Mutex::new(Box::new(|_| ok())),
            calls: watch::Sender::new(Vec::new()),
            entries: Mutex::default(),
        });
        world.surroundings =
            Surroundings { invoke: Some(function.clone()), run_log: Some(function.clone()), ..Surroundings::default() };
        function
    }

    /// What it does with the next calls.
    pub fn script(&self, told: impl IntoIterator<Item = Told>) {
        self.script.lock().unwrap().extend(told);
    }

    /// What it does with all calls that the script does not speak of.
    pub fn rule(&self, rule: impl Fn(&FunctionCall) -> Told + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    pub fn calls(&self) -> Vec<FunctionCall> {
        self.calls.borrow().clone()
    }

    /// The `n` of the records of each call.
    pub fn numbers(&self) -> Vec<Vec<i64>> {
        self.calls().iter().map(|call| numbers(&call.body)).collect()
    }

    /// Waits for so many calls, and gives them.
    pub async fn wait_for(&self, count: usize) -> Vec<FunctionCall> {
        let mut calls = self.calls.subscribe();
        let enough = calls.wait_for(|calls| calls.len() >= count);
        tokio::time::timeout(Duration::from_secs(30), enough).await.expect("nobody calls").unwrap().clone()
    }

    /// The run log of one connector: level, message.
    pub fn run_log(&self, name: &str) -> Vec<RunEntry> {
        let entries = self.entries.lock().unwrap();
        entries.iter().filter(|(id, _)| id.name == name).map(|(_, entry)| entry.clone()).collect()
    }
}

impl Invoke for Function {
    fn invoke<'a>(&'a self, call: FunctionCall) -> Pin<Box<dyn Future<Output = FunctionAnswer> + Send + 'a>> {
        let scripted = self.script.lock().unwrap().pop_front();
        let told = scripted.unwrap_or_else(|| (self.rule.lock().unwrap())(&call));
        self.calls.send_modify(|calls| calls.push(call));
        Box::pin(async move {
            match told {
                Told::Answer(answer) => answer,
                Told::Held(until, answer) => {
                    until.notified().await;
                    answer
                }
                Told::Silent => std::future::pending().await,
            }
        })
    }
}

impl RunLog for Function {
    fn write(&self, connector: &ConnectorId, entry: RunEntry) {
        self.entries.lock().unwrap().push((connector.clone(), entry));
    }
}

/// A connector named `siem` to a function, over one log group, that does not wait for batches to fill.
pub fn to_function() -> Value {
    json!({
        "name": "siem",
        "instance": INSTANCE,
        "start": "oldest",
        "source": {"language": "oci", "scopes": [{"compartments": [COMPARTMENT], "log_group": GROUP}]},
        "target": {"type": "function", "function": "ocid1.fnfunc.oc1.x.7", "name": "fwd", "batch_wait_ms": 0},
    })
}

pub const COMPARTMENT: &str = "ocid1.compartment.oc1..1";
pub const GROUP: &str = "ocid1.loggroup.oc1.x.2";
pub const LOG: &str = "ocid1.log.oc1.x.3";

/// A log entry as it is stored.
pub fn entry(number: i64) -> String {
    entry_of(number, COMPARTMENT, GROUP, LOG)
}

pub fn entry_of(number: i64, compartment: &str, group: &str, log: &str) -> String {
    let entry = json!({
        "id": format!("e{number}"), "source": "web", "specversion": "1.0", "type": "custom", "time": "2026-11-21T22:00:00Z",
        "data": {"n": number, "even": number % 2 == 0},
        "oracle": {"compartmentid": compartment, "loggroupid": group, "logid": log},
    });
    entry.to_string()
}

fn numbers(body: &[u8]) -> Vec<i64> {
    let records: Vec<Value> = serde_json::from_slice(body).expect("a call's body is a list");
    records.iter().map(|record| record["data"]["n"].as_i64().expect("an entry's number")).collect()
}

impl World {
    /// Appends a frame of log entries.
    pub async fn log(&self, numbers: impl IntoIterator<Item = i64>) -> (Vec<event::RecordId>, event::Position) {
        self.log_with_hops(numbers, 0).await
    }

    /// The same, of a log whose entries come from so many calls.
    pub async fn log_with_hops(
        &self,
        numbers: impl IntoIterator<Item = i64>,
        hops: u32,
    ) -> (Vec<event::RecordId>, event::Position) {
        let entries: Vec<String> = numbers.into_iter().map(entry).collect();
        let labels = match hops {
            0 => vec![],
            hops => vec![(deliver::HOPS_LABEL.to_owned(), hops.to_string())],
        };
        let feed = format!("oci/{LOG}");
        self.append_as(crate::world::oci(entries.iter().map(String::as_str)), &feed, &labels).await
    }
}
