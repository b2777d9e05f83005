//! What is counted per minute.

use std::time::Duration;

use deliver::{ConnectorId, Deliver, Metric, MetricsQuery, Series};
use event::Time;
use serde_json::json;

use crate::fake_function::{Function, answered, entry, failed, to_function};
use crate::world::{EPOCH, World, id, instance, until, waits, with};

fn query(metrics: &[Metric]) -> MetricsQuery {
    let from: Time = EPOCH.parse().unwrap();
    MetricsQuery {
        metrics: metrics.to_vec(),
        connector: None,
        from,
        to: from.saturating_add_nanos(3_600_000_000_000),
        interval: Duration::from_secs(60),
    }
}

fn ask(deliver: &Deliver, metrics: &[Metric]) -> Vec<Series> {
    deliver.metrics(instance(), &query(metrics)).unwrap()
}

/// The sum of all that was observed of one metric.
pub fn sum(deliver: &Deliver, metric: Metric) -> f64 {
    ask(deliver, &[metric]).iter().flat_map(|series| &series.points).map(|point| point.sum).sum()
}

#[tokio::test]
async fn the_names_and_what_they_count() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([answered(502, ""), failed(None, "gone")]);
    let changes = json!({"source": {"query": "data.even = true"}, "target": {"batch_records_max": 2}});
    world.log([1, 2, 3, 4]).await;
    let deliver = world.start(&[with(to_function(), changes)]).await;
    for (attempts, wait) in [(1, 1), (2, 2)] {
        until(&deliver, |status| status.errors == attempts && waits(status)).await;
        world.clock.advance(Duration::from_secs(wait));
    }
    until(&deliver, |status| status.written == 2).await;

    let each: f64 = entry(1).len() as f64;
    let body = (entry(2).len() + entry(4).len() + 3) as f64;
    let expected = [
        (Metric::BytesReadFromSource, 4.0 * entry(4).len() as f64 - 0.0),
        (Metric::MessagesReadFromSource, 4.0),
        (Metric::BytesReadFromTask, 2.0 * entry(2).len() as f64),
        (Metric::MessagesReadFromTask, 2.0),
        (Metric::BytesWrittenToTarget, body),
        (Metric::MessagesWrittenToTarget, 2.0),
        (Metric::MessagesWrittenToTask, 4.0),
        (Metric::ErrorsAtTarget, 2.0),
        (Metric::ServiceConnectorHubErrors, 2.0),
        (Metric::DataFreshness, 3_000.0),
    ];
    let odd_are_longer = 2.0 * (each - entry(2).len() as f64);
    for (metric, expected) in expected {
        let extra = if metric == Metric::BytesReadFromSource { odd_are_longer } else { 0.0 };
        assert_eq!(sum(&deliver, metric), expected + extra, "{}", metric.name());
    }
    assert_eq!(sum(&deliver, Metric::BytesWrittenToTask), sum(&deliver, Metric::BytesReadFromSource));
    for (metric, count) in [(Metric::LatencyAtTarget, 3), (Metric::LatencyAtSource, 1), (Metric::LatencyAtTask, 1)] {
        let series = ask(&deliver, &[metric]);
        assert_eq!((series.len(), series[0].points[0].count), (1, count), "{}", metric.name());
        assert!(series[0].points[0].min >= 0.0 && series[0].points[0].max < 30_000.0, "{}", metric.name());
    }
    for metric in [Metric::ErrorsAtSource, Metric::ErrorsAtTask] {
        assert_eq!(ask(&deliver, &[metric]), [], "{}", metric.name());
    }
    let errors: Vec<(String, String)> = ask(&deliver, &[Metric::ErrorsAtTarget])
        .iter()
        .map(|series| (series.dimensions["errorCode"].clone(), series.dimensions["errorType"].clone()))
        .collect();
    let expected = [("-1", "NetworkError"), ("502", "FunctionInvokeExecutionFailed")];
    assert_eq!(errors, expected.map(|(code, kind)| (code.to_owned(), kind.to_owned())));

    // All names are there that OCI has, and each is read back.
    assert_eq!(Metric::ALL.len(), 16);
    assert!(Metric::ALL.iter().all(|metric| Metric::of(metric.name()) == Some(*metric)));
}

#[tokio::test]
async fn a_source_without_a_filter_has_no_task() {
    let mut world = World::new();
    Function::of(&mut world);
    world.log([1]).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, |status| status.written == 1).await;
    let metrics: Vec<Metric> = ask(&deliver, &[]).iter().map(|series| series.metric).collect();
    let expected = [
        Metric::BytesReadFromSource,
        Metric::MessagesReadFromSource,
        Metric::BytesWrittenToTarget,
        Metric::MessagesWrittenToTarget,
        Metric::LatencyAtSource,
        Metric::LatencyAtTarget,
        Metric::DataFreshness,
    ];
    assert_eq!(metrics, expected);
}

#[tokio::test]
async fn what_was_counted_outlives_a_stop_and_is_there_once() {
    let mut world = World::new();
    Function::of(&mut world);
    let other = with(to_function(), json!({"name": "other"}));
    let documents = [to_function(), other];
    for round in 1..=3 {
        world.log([1, 2]).await;
        let deliver = world.start(&documents).await;
        for name in ["siem", "other"] {
            crate::world::until_named(&deliver, name, |status| status.written == 2 * round).await;
        }
        let ask = |connector: Option<ConnectorId>| {
            let query = MetricsQuery { connector, ..query(&[Metric::MessagesWrittenToTarget]) };
            deliver.metrics(instance(), &query).unwrap()
        };
        let expected = (2.0 * round as f64, 2.0, round);
        for series in [ask(None), ask(Some(id("siem")))] {
            let point = series[0].points[0];
            assert_eq!((point.sum, point.max, point.count), expected);
            assert_eq!(series[0].points.len(), 1);
        }
        assert_eq!((ask(None).len(), ask(Some(id("siem"))).len(), ask(Some(id("nobody"))).len()), (2, 1, 0));
        deliver.stop().await;
        // It is still asked for while the server ends.
        assert_eq!(ask(None)[0].points[0].sum, expected.0);
        drop(deliver);
    }
    // Of other times and other instances nothing; of a connector that is deleted nothing is left.
    let deliver = world.start(&[to_function()]).await;
    let later = MetricsQuery { from: query(&[]).to, ..query(&[]) };
    assert_eq!(deliver.metrics(instance(), &later).unwrap(), []);
    let stranger = crate::world::OTHER_INSTANCE.parse().unwrap();
    assert_eq!(deliver.metrics(stranger, &query(&[])).unwrap(), []);
    let connectors: Vec<String> =
        ask(&deliver, &[Metric::DataFreshness]).into_iter().map(|series| series.connector.name).collect();
    assert_eq!(connectors, ["siem"]);
}

#[tokio::test]
async fn points_are_kept_for_a_day() {
    let mut world = World::new();
    Function::of(&mut world);
    for day in 0..3 {
        world.log([day]).await;
        let deliver = world.start(&[to_function()]).await;
        until(&deliver, |status| status.written == day as u64 + 1).await;
        deliver.stop().await;
        drop(deliver);
        world.clock.advance(Duration::from_secs(86_400));
    }
    let deliver = world.start(&[to_function()]).await;
    let from: Time = EPOCH.parse().unwrap();
    let all = MetricsQuery { to: from.saturating_add_nanos(i64::MAX / 2), ..query(&[Metric::MessagesWrittenToTarget]) };
    let points = &deliver.metrics(instance(), &all).unwrap()[0].points;
    let days: Vec<i64> = points.iter().map(|point| point.at.nanos_since(from) / 86_400_000_000_000).collect();
    assert_eq!(days, [1, 2]);
}
