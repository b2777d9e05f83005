//! Many at once: every exchange is in the lane that it went through, and nothing is held up or held in memory.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use crate::world::{Ca, HOST, Host, Reply, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_are_in_the_right_lane() {
    const LANES: usize = 24;
    const REQUESTS: usize = 20;
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| {
        let path = received.line().split(' ').nth(1).unwrap();
        Reply::ok(200, path)
    })
    .await;
    let plain = Host::plain(|_| Reply::ok(201, "")).await;
    let world = World::with(ca, [(HOST, host.address), ("plain.example", plain.address)], |_| {}).await;
    let mut running = JoinSet::new();
    for number in 0..LANES {
        let lane = world.egress.lane();
        let client = world.client(&lane);
        running.spawn(async move {
            for request in 0..REQUESTS {
                let path = format!("/{number}/{request}");
                let answer = client.get(format!("https://{HOST}{path}")).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), path);
                let answer = client.post(format!("http://plain.example{path}")).body(path).send().await.unwrap();
                assert_eq!(answer.status(), 201);
            }
            let exchanges = lane.take();
            assert!(exchanges.iter().all(|one| one.error.is_none()), "{exchanges:?}");
            let got: BTreeSet<String> = exchanges.into_iter().map(|one| one.url).collect();
            let expected = (0..REQUESTS).flat_map(|request| {
                ["https://jsonplaceholder.typicode.com", "http://plain.example"]
                    .map(|host| format!("{host}/{number}/{request}"))
            });
            assert_eq!(got, expected.collect());
            assert_eq!(lane.count(), REQUESTS as u64 * 2);
        });
    }
    while let Some(lane) = running.join_next().await {
        lane.unwrap();
    }
    assert_eq!(host.received().len(), LANES * REQUESTS);
    // A connection to a host is one lane's alone.
    let mut lanes: BTreeMap<usize, String> = BTreeMap::new();
    for received in host.received() {
        let lane = received.line().split('/').nth(1).unwrap().to_owned();
        assert_eq!(*lanes.entry(received.connection).or_insert_with(|| lane.clone()), lane);
    }
    assert!(lanes.len() < LANES * REQUESTS, "they are used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lane_at_many_things_at_once() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(200, "ok")).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let mut running = JoinSet::new();
    // More than a lane may have at once: the rest waits for its turn.
    for _ in 0..300 {
        let client = world.client(&lane);
        running.spawn(async move {
            let answer = client.get(format!("https://{HOST}/")).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "ok");
        });
    }
    while let Some(request) = running.join_next().await {
        request.unwrap();
    }
    let exchanges = lane.take();
    assert_eq!(exchanges.len(), 300);
    assert!(exchanges.iter().all(|one| one.status == Some(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_body_both_ways() {
    const BYTES: usize = 48 << 20;
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| {
        let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", received.body.len()).into_bytes();
        reply.extend_from_slice(&received.body);
        Reply::Stay(reply)
    })
    .await;
    let world = World::with(ca, [(HOST, host.address)], |settings| settings.body_bytes_max = BYTES).await;
    let lane = world.egress.lane();
    let body: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let answer = world.client(&lane).put(format!("https://{HOST}/big")).body(body.clone()).send().await.unwrap();
    assert!(answer.bytes().await.unwrap() == body);
    let exchange = lane.take().pop().unwrap();
    assert_eq!((exchange.sent_bytes, exchange.received_bytes), (BYTES as u64, BYTES as u64));
}
