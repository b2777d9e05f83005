//! `GET /metrics`: the same figures as `status`, in Prometheus' text format.

use std::fmt::Write;

use commit::LogState;
use http::{HeaderValue, Response, StatusCode};
use receive::AnswerBody;

use super::{Answer, Api};

pub fn answer(api: &Api) -> Answer {
    let mut out = Text::default();
    let mut counts: Vec<_> = api.ledger.counts().into_iter().collect();
    counts.sort_by_key(|(id, _)| *id);
    let mut per_instance = |name, help, value: fn(&receive::ledger::Counts) -> u64| {
        out.family(name, "counter", help);
        for (id, counts) in &counts {
            out.sample(name, &[("instance", &id.to_string())], value(counts) as f64);
        }
    };
    per_instance("penstock_records_received_total", "Records of requests with a known sender", |c| c.received);
    per_instance("penstock_records_committed_total", "Records on stable storage", |c| c.committed);
    per_instance("penstock_records_filtered_total", "Records that a forwarder's filter kept out", |c| c.filtered);
    per_instance("penstock_records_repeated_total", "Records of batches that were there already", |c| c.repeated);
    per_instance("penstock_records_refused_total", "Records refused", |c| c.refused);
    per_instance("penstock_bytes_committed_total", "Bytes of committed records", |c| c.committed_bytes);
    per_instance("penstock_requests_total", "Intake requests answered", |c| c.requests);
    per_instance("penstock_requests_refused_total", "Intake requests refused", |c| c.requests_refused);
    out.one(
        "penstock_strangers_refused_total",
        "counter",
        "Requests refused before a credential was known to be good",
        api.ledger.strangers_refused() as f64,
    );
    out.one(
        "penstock_own_log_entries_let_go_total",
        "counter",
        "Lines of functions and entries of connectors' run logs that were not written because too many waited",
        api.own_logs.let_go() as f64,
    );
    out.one("penstock_request_memory_bytes", "gauge", "Memory that requests in flight hold", api.memory.used() as f64);

    let log = api.pipeline.log.status();
    out.one("penstock_log_bytes", "gauge", "Bytes of the log on disk", log.bytes_on_disk as f64);
    out.one("penstock_log_segments", "gauge", "Segment files of the log", log.segments as f64);
    out.one("penstock_log_frames_total", "counter", "Frames appended", log.frames as f64);
    out.one("penstock_log_syncs_total", "counter", "Syncs of the log", log.syncs as f64);
    out.one("penstock_log_dedup_keys", "gauge", "Batches whose repeats are recognised", log.dedup_keys as f64);
    let writing = f64::from(u8::from(matches!(log.state, LogState::Writing)));
    out.one("penstock_log_writing", "gauge", "1 while the log takes frames", writing);

    if let Some(store) = &api.pipeline.store {
        let progress = &api.pipeline.progress;
        let lag = log.durable_to.offset.saturating_sub(progress.offset());
        out.one("penstock_store_lag_bytes", "gauge", "Bytes of the log that the store has not read", lag as f64);
        let behind = progress.behind(log.durable_to.offset, (api.clock)());
        out.one(
            "penstock_store_lag_seconds",
            "gauge",
            "Age of the newest record that is searchable",
            behind.as_secs_f64(),
        );
        out.one(
            "penstock_store_unflushed_bytes",
            "gauge",
            "Searchable bytes not yet in a part",
            store.tail_bytes() as f64,
        );
        let tallies = store.tallies();
        let mut per_parser = |name, help, value: fn(&event::Tally) -> u64| {
            out.family(name, "counter", help);
            for (key, tally) in &tallies {
                let instance = key.instance.to_string();
                let labels = [("instance", &*instance), ("log_type", &*key.log_type), ("parser", &*key.parser)];
                out.sample(name, &labels, value(tally) as f64);
            }
        };
        per_parser("penstock_parser_parsed_total", "Raw logs that gave events, or none on purpose", |t| t.parsed);
        per_parser("penstock_parser_dropped_total", "Raw logs that their parser left out", |t| t.dropped);
        per_parser("penstock_parser_failed_total", "Raw logs that gave no events because of a failure", |t| t.failed);
        per_parser("penstock_parser_events_total", "Events and entities that came of raw logs", |t| t.events);
    }
    let connectors = api.pipeline.deliver.status();
    let mut per_connector = |name, kind, help, value: fn(&deliver::ConnectorStatus) -> f64| {
        out.family(name, kind, help);
        for status in &connectors {
            let instance = status.id.instance.to_string();
            out.sample(name, &[("instance", &instance), ("connector", &status.id.name)], value(status));
        }
    };
    per_connector("penstock_connector_read_total", "counter", "Records read", |s| s.read as f64);
    per_connector("penstock_connector_written_total", "counter", "Records delivered", |s| s.written as f64);
    per_connector("penstock_connector_errors_total", "counter", "Failed attempts", |s| s.errors as f64);
    per_connector("penstock_connector_dead_letters", "gauge", "Records refused for good", |s| s.dead_letters as f64);
    per_connector("penstock_connector_lag_bytes", "gauge", "Bytes of the log not yet read", |s| s.lag_bytes as f64);

    let mut response = Response::new(AnswerBody::whole(out.0));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }
}
