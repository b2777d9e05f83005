//! Properties: whatever is stored, flushed and merged in whatever order, a search gives what looking at every row by
//! hand gives, and never a row of another instance.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;

use event::Kind;
use proptest::prelude::*;
use search::{Query, Row, Wanted};

use crate::world::{Sent, World, at, instance};

#[derive(Debug, Clone)]
enum Act {
    Push(Sent),
    Flush,
    Maintain,
}

#[derive(Debug, Clone)]
enum Ask {
    Text(String, bool),
    Regex(String, bool),
    Udm(String),
}

fn any_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("session".to_owned()),
        Just("Authentication".to_owned()),
        Just("로그인 성공했습니다".to_owned()),
        Just("MÜLLER-straße".to_owned()),
        "[a-c]{1,3}",
        "user[0-3]@example\\.(com|org)",
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
}

fn any_udm() -> impl Strategy<Value = String> {
    ("[a-b]{1,2}", 0..3u8, prop::bool::ANY, 0..4u16).prop_map(|(user, ip, camel, port)| {
        let name = if camel { "emailAddresses" } else { "email_addresses" };
        format!(
            r#"{{"metadata":{{"event_type":"USER_LOGIN"}},"principal":{{"ip":["10.0.0.{ip}"],"port":{port},"user":{{"userid":"{user}","{name}":["{}@x.org"]}}}}}}"#,
            user.to_uppercase()
        )
    })
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let kind = prop_oneof![Just(Kind::Raw), Just(Kind::Raw), Just(Kind::Udm)];
    (0..2u8, kind, prop_oneof![Just("OKTA"), Just("AWS")], 0..60i64).prop_flat_map(
        |(instance, kind, log_type, received)| {
            let text = if kind == Kind::Raw { any_text().boxed() } else { any_udm().boxed() };
            prop::collection::vec((-20..20i64, text), 1..12).prop_map(move |records| Sent {
                instance,
                kind,
                log_type,
                received,
                records,
            })
        },
    )
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![5 => any_sent().prop_map(Act::Push), 3 => Just(Act::Flush), 1 => Just(Act::Maintain)]
}

fn any_ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        (any_text().prop_filter("a needle", |text| !text.is_empty()), any::<bool>())
            .prop_map(|(text, sensitive)| Ask::Text(text, sensitive)),
        ("[a-c]{1,2}", any::<bool>()).prop_map(|(text, sensitive)| Ask::Text(text, sensitive)),
        (
            prop_oneof![Just("user[12]@example\\.com"), Just(""), Just("(session|authentication) [a-c]"), Just("^b")],
            any::<bool>()
        )
            .prop_map(|(pattern, sensitive)| Ask::Regex(pattern.to_owned(), sensitive)),
        prop_oneof![
            Just("principal.user.userid = \"a\""),
            Just("ip = \"10.0.0.1\" AND principal.port = 2"),
            Just("NOT email = \"b@x.org\""),
            Just("principal.user.userid = /^a/ OR principal.port != 0"),
            Just("user = \"AB\" nocase"),
            Just("target.hostname = \"\""),
        ]
        .prop_map(|text| Ask::Udm(text.to_owned())),
    ]
}

/// A query as its text: a predicate holds the whole schema, which no failure should print.
#[derive(Debug, Clone)]
struct Asked {
    tenant: Option<u8>,
    ask: Ask,
    from: Option<i64>,
    to: Option<i64>,
    log_types: Vec<String>,
    kinds: Vec<Kind>,
    limit: usize,
}

fn any_asked() -> impl Strategy<Value = Asked> {
    let log_types =
        prop_oneof![Just(vec![]), Just(vec!["OKTA".to_owned()]), Just(vec!["NONE".to_owned(), "AWS".to_owned()])];
    let kinds = prop_oneof![4 => Just(vec![]), 1 => Just(vec![Kind::Raw]), 1 => Just(vec![Kind::Udm, Kind::Entity])];
    let time = || prop::option::weighted(0.3, -20..20i64);
    let limit = prop_oneof![0..6usize, Just(500)];
    (prop::option::weighted(0.8, 0..3u8), any_ask(), time(), time(), log_types, kinds, limit).prop_map(
        |(tenant, ask, from, to, log_types, kinds, limit)| Asked { tenant, ask, from, to, log_types, kinds, limit },
    )
}

impl Asked {
    fn query(&self, schema: &Arc<udm::Schema>) -> Query {
        Query {
            instance: self.tenant.map(instance),
            kinds: self.kinds.clone(),
            predicate: match &self.ask {
                Ask::Text(text, sensitive) => query::raw_text(text, *sensitive).unwrap(),
                Ask::Regex(pattern, sensitive) => query::raw_regex(pattern, *sensitive).unwrap(),
                Ask::Udm(text) => query::parse_udm(text, schema, query::Options::default()).unwrap(),
            },
            from: self.from.map(at),
            to: self.to.map(at),
            log_types: self.log_types.clone(),
            limit: self.limit,
        }
    }
}

/// What the query means, row by row.
fn by_hand(rows: &[Row], query: &Query) -> Vec<Row> {
    let mut found: Vec<Row> = rows
        .iter()
        .filter(|row| query.instance.is_none_or(|instance| instance == row.instance))
        .filter(|row| query.kinds.is_empty() || query.kinds.contains(&row.kind))
        .filter(|row| query.log_types.is_empty() || query.log_types.contains(&row.log_type))
        .filter(|row| query.from.is_none_or(|from| row.event_time >= from))
        .filter(|row| query.to.is_none_or(|to| row.event_time < to))
        .filter(|row| query.predicate.matches(row.kind, &row.data))
        .cloned()
        .collect();
    found.sort_by_key(|row| Reverse((row.event_time, row.id)));
    found
}

fn built(acts: &[Act]) -> World {
    let mut world = World::new();
    for act in acts {
        match act {
            Act::Push(sent) => world.push(sent),
            Act::Flush => world.flush(),
            Act::Maintain => {
                world.store.maintain(at(0)).unwrap();
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_search_gives_what_looking_at_every_row_gives(
        acts in prop::collection::vec(any_act(), 1..14),
        asked in prop::collection::vec(any_asked(), 1..12),
    ) {
        let world = built(&acts);
        let schema = udm::Schema::load();
        for query in asked.iter().map(|asked| asked.query(&schema)) {
            let query = &query;
            let (rows, summary) = world.search(query);
            let mut expected = by_hand(&world.rows, query);
            prop_assert_eq!(summary.truncated, expected.len() > query.limit, "{}", query.predicate);
            expected.truncate(query.limit);
            prop_assert_eq!(summary.rows, expected.len() as u64);
            prop_assert_eq!(&rows, &expected, "{}", query.predicate);
            if let Some(instance) = query.instance {
                prop_assert!(rows.iter().all(|row| row.instance == instance));
            }
        }
    }

    #[test]
    fn ids_lead_to_their_rows_and_to_no_foreign_ones(acts in prop::collection::vec(any_act(), 1..14)) {
        let world = built(&acts);
        let snapshot = world.store.snapshot();
        for row in world.rows.iter().step_by(3) {
            for tenant in [None, Some(instance(0)), Some(instance(1))] {
                for wanted in [Wanted::Record(row.id), Wanted::Batch(row.id.batch())] {
                    let mut found = Vec::new();
                    let given = search::find(&snapshot, tenant, wanted, &mut |row| {
                        found.push(row);
                        ControlFlow::Continue(())
                    }).unwrap();
                    let mut expected: Vec<Row> = (world.rows.iter())
                        .filter(|other| tenant.is_none_or(|tenant| tenant == other.instance))
                        .filter(|other| match wanted {
                            Wanted::Record(id) => other.id == id,
                            Wanted::Batch(id) => other.id.batch() == id,
                        })
                        .cloned()
                        .collect();
                    expected.sort_by_key(|row| row.id);
                    prop_assert_eq!(given, expected.len() as u64);
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
