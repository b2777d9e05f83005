//! A data directory whose log was put back from an older copy: what is acknowledged from then on is stored, too.

use std::path::Path;

use crate::server::{RAW, TestServer, raw_batch};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_ahead_of_its_log_loses_nothing_new() {
    let server = TestServer::start().await;
    assert_eq!(server.post(RAW, raw_batch(["before the copy"])).await.status, 200);
    server.settled().await;
    let dir = server.stop().await;
    let (log, aside) = (dir.path().join("data/log"), dir.path().join("data/aside"));
    copy(&log, &aside);

    let server = TestServer::again(dir).await;
    for number in 0..5 {
        let text = format!("after the copy {number}");
        assert_eq!(server.post(RAW, raw_batch([text.as_str()])).await.status, 200);
    }
    // What the store has not read yet goes with the log that is taken away.
    server.settled().await;
    let dir = server.stop().await;
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();

    // Twice, since what is pushed behind a cursor that only memory knows would be skipped by the next start.
    let mut server = TestServer::again(dir).await;
    for round in 0..2 {
        assert_eq!(server.post(RAW, raw_batch([format!("restored {round}").as_str()])).await.status, 200);
        server.settled().await;
        assert_eq!(server.texts(&format!("restored {round}")).await.len(), 1, "{round}");
        server = TestServer::again(server.stop().await).await;
    }
    assert_eq!(server.texts("restored").await.len(), 2);
    assert_eq!(server.texts("the copy").await.len(), 6);
    server.stop().await;
}
