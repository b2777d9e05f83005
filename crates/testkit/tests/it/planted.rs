//! Wrong variants of each kind of target: a condition that is rare, reachable only through valid input, and on no seed.
//! The same mutator must find it; if it does not, the list has gone blind. Counted in inputs, a few times as many as it
//! takes, since on a slow machine the list's own seconds would decide: on two busy cores all of these are found in them.

use bytes::Bytes;
use dialects::Intake;
use event::codec;
use testkit::fuzz::{Accepts, Settings, Shown, Target, recovered, run, targets};

/// At most so many inputs until a bug is found.
const INPUTS: u64 = 150_000;

/// Runs a target of the list with a bug put behind it.
#[track_caller]
fn check(name: &str, is_bug: impl Fn(&[u8]) -> bool + Send + Sync + 'static) {
    let mut settings = Settings::from_env();
    settings.replay = None;
    settings.corpus = None;
    settings.seed = 1;
    settings.inputs = Some(INPUTS);
    settings.dir = settings.dir.join("planted");
    let target = targets().into_iter().find(|target| target.name == name).expect("a target of the list");
    for seed in &target.seeds {
        assert!(!is_bug(seed), "a seed has the bug: {}", seed.escape_ascii());
    }
    let real = target.run;
    let wrong = Target {
        run: Box::new(move |bytes: &[u8], shown: &mut Shown| {
            real(bytes, shown);
            if is_bug(bytes) {
                // Unwinds without a line for each try in the output.
                std::panic::resume_unwind(Box::new("planted".to_owned()));
            }
        }),
        ..target
    };
    match run(&wrong, &settings) {
        Ok(summary) => panic!("the bug in {name} was not found: {summary:?}"),
        Err(finding) => {
            assert_eq!(finding.what, "panic: planted", "{finding}");
            println!(
                "found after {} inputs, {} bytes left of it: {}",
                finding.runs,
                finding.small.len(),
                finding.small.escape_ascii()
            );
        }
    }
}

#[test]
fn a_batch_with_labels_and_a_fault() {
    check("batch_codec", |bytes| {
        let batches = codec::decode(&Bytes::copy_from_slice(bytes)).unwrap_or_default();
        batches
            .iter()
            .any(|batch| batch.meta.labels.len() >= 2 && batch.records.iter().any(|record| record.fault.is_some()))
    });
}

#[test]
fn a_third_record_with_a_namespace_and_an_old_time() {
    let accepts = Accepts::new();
    check("raw_logs", move |bytes| {
        let Intake::Commit { batches, .. } = accepts.accept(Accepts::RAW_LOGS, bytes) else { return false };
        batches.iter().any(|(_, batch)| {
            let time = batch.records.get(2).and_then(|record| record.sender_time);
            !batch.meta.namespace.is_empty() && time.is_some_and(|time| (0..1_000_000_000).contains(&time.secs()))
        })
    });
}

#[test]
fn an_event_with_a_list_in_a_struct_in_a_list() {
    let accepts = Accepts::new();
    let schema = udm::Schema::load();
    check("udm_events", move |bytes| {
        let Intake::Commit { batches, .. } = accepts.accept(Accepts::UDM_EVENTS, bytes) else { return false };
        batches.iter().flat_map(|(_, batch)| &batch.records).any(|record| {
            let mut deep = 0;
            schema.visit_leaves(udm::Root::Event, &record.data, &mut |leaf| {
                deep = deep.max(leaf.path.matches(".fields[").count());
            });
            deep >= 3
        })
    });
}

#[test]
fn two_relations_of_one_entity() {
    let accepts = Accepts::new();
    let schema = udm::Schema::load();
    check("entities", move |bytes| {
        let Intake::Commit { batches, .. } = accepts.accept(Accepts::ENTITIES, bytes) else { return false };
        batches.iter().flat_map(|(_, batch)| &batch.records).any(|record| {
            let mut users = 0;
            schema.visit_leaves(udm::Root::Entity, &record.data, &mut |leaf| {
                users += usize::from(leaf.path == "relations.entity.user.userid");
            });
            users >= 2
        })
    });
}

#[test]
fn a_regex_behind_not_behind_or() {
    let schema = udm::Schema::load();
    check("query", move |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(predicate) = query::parse_udm(&text, &schema, query::Options::default()) else { return false };
        let printed = predicate.to_string();
        let Some((_, behind)) = printed.split_once(" OR NOT ") else { return false };
        let condition = behind.split([')']).next().unwrap_or_default();
        let condition = condition.split(" AND ").next().unwrap_or_default();
        condition.contains("= /") || condition.contains("!= /")
    });
}

#[test]
fn a_log_with_three_frames_and_damage() {
    check("log_recovery", |bytes| {
        let seen = recovered(bytes);
        seen.frames >= 3 && seen.damaged >= 1
    });
}

#[test]
fn a_null_in_a_list_of_a_field() {
    let schema = udm::Schema::load();
    check("udm", move |bytes| {
        let Some((b'e', json)) = bytes.split_first() else { return false };
        let checked = schema.check(udm::Root::Event, json, udm::Mode::Lenient);
        checked
            .is_ok_and(|checked| checked.issues.iter().any(|issue| issue.message.starts_with("null stands in a list")))
    });
}

#[test]
fn a_signed_token_without_a_scope() {
    let accepts = Accepts::new();
    check("bearer", move |bytes| !bytes.windows(7).any(|part| part == b"\"scope\"") && accepts.bearer(bytes).is_ok());
}

#[test]
fn a_claimed_path_with_two_escapes() {
    let accepts = Accepts::new();
    check("request_line", move |bytes| {
        let claimed = accepts.claimed(bytes);
        claimed.is_ok_and(|(head, name)| name.is_some() && head.raw_path.matches('%').count() >= 2)
    });
}

#[test]
fn a_tunnel_to_a_regional_endpoint_with_a_number_and_bytes_after_the_head() {
    use receive::connect::{Said, read};
    check("connect_head", |bytes| {
        let Said::Tunnel { host, head_bytes } = read(bytes) else { return false };
        let region = host.as_str().strip_prefix("chronicle.").unwrap_or_default();
        region.contains('-') && bytes.len() > head_bytes && bytes[..head_bytes].windows(9).any(|at| at == b"HTTP/1.0\r")
    });
}

#[test]
fn a_loop_over_a_map_in_an_else() {
    use cbn::syntax::ast::{Statement, StatementKind};
    fn has_map_loop(body: &[Statement], in_else: bool) -> bool {
        body.iter().any(|statement| match &statement.kind {
            StatementKind::Plugin(_) => false,
            StatementKind::For(looped) => (looped.map && in_else) || has_map_loop(&looped.body, in_else),
            StatementKind::If(chain) => {
                chain.branches.iter().any(|branch| has_map_loop(&branch.body, in_else))
                    || chain.otherwise.as_ref().is_some_and(|(body, _)| has_map_loop(body, true))
            }
        })
    }
    check("cbn_program", |bytes| {
        let source = String::from_utf8_lossy(bytes);
        cbn::Program::new("planted.conf", &*source).is_ok_and(|program| has_map_loop(&program.file().body, false))
    });
}
