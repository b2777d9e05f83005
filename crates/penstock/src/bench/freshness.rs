//! Measures how soon an acknowledged record is found: while the load runs, a few times a second one acknowledged record
//! is picked and searched for until it shows. The searches are part of the server's work here, as in life; too many of
//! them would measure themselves, so one record is asked for at growing intervals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::Kind;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::latency::Latencies;
use super::load::Acknowledged;
use super::wire::{Connection, Endpoint};

/// Time between the first two searches for one record; also how exact the figure is where records are found soon.
const SEARCH_AGAIN_MIN: Duration = Duration::from_millis(50);

/// Longest time between two searches for one record.
const SEARCH_AGAIN_MAX: Duration = Duration::from_millis(400);

/// Most records looked for at one time. When all are busy, the server is far behind and more searches only add to it.
const PROBES_MAX: usize = 8;

/// How long one record is looked for.
pub const FOUND_MAX: Duration = Duration::from_secs(30);

/// What the probes found.
#[derive(Debug, Default)]
pub struct Found {
    /// Records looked for.
    pub probes: u64,
    /// Never found within [`FOUND_MAX`].
    pub lost: u64,
    /// From the reply to the answer that held the record.
    pub reply_to_found: Latencies,
    /// Each search.
    pub searches: Latencies,
    /// The first search that was refused or failed.
    pub first_error: Option<String>,
}

/// Who asks, and in which language.
#[derive(Debug, Clone)]
pub struct Searcher {
    /// The server.
    pub endpoint: Endpoint,
    /// Value of `Authorization`.
    pub authorization: Option<String>,
    /// Raw lines are found by text, UDM events by their field.
    pub kind: Kind,
    /// Time between two picks.
    pub pick_every: Duration,
}

impl Searcher {
    /// Picks from the acknowledged records until the load is over (the channel closes), then waits for the last probes.
    pub async fn run(self, mut acknowledged: mpsc::Receiver<Acknowledged>) -> Found {
        let found = Arc::new(Mutex::new(Found::default()));
        let mut probes = JoinSet::new();
        let mut pick = tokio::time::interval(self.pick_every);
        pick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pick.tick().await;
            while probes.len() >= PROBES_MAX {
                probes.join_next().await;
            }
            // What lies in the channel has aged there; the one that comes next is fresh.
            let _ = acknowledged.try_recv();
            let Some(record) = acknowledged.recv().await else { break };
            let (searcher, found) = (self.clone(), found.clone());
            probes.spawn(async move { searcher.probe(&record, &found).await });
        }
        while probes.join_next().await.is_some() {}
        let mut found = found.lock().await;
        std::mem::take(&mut *found)
    }

    async fn probe(&self, record: &Acknowledged, found: &Mutex<Found>) {
        found.lock().await.probes += 1;
        let request = self.request(&record.marker);
        let mut connection = None;
        let mut pause = SEARCH_AGAIN_MIN;
        while record.at.elapsed() < FOUND_MAX {
            let asked_at = Instant::now();
            let seen = self.search(&mut connection, &request, &record.marker).await;
            let mut found = found.lock().await;
            found.searches.add(asked_at.elapsed());
            match seen {
                Ok(true) => {
                    found.reply_to_found.add(record.at.elapsed());
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    connection = None;
                    found.first_error.get_or_insert_with(|| error.to_string());
                }
            }
            drop(found);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SEARCH_AGAIN_MAX);
        }
        found.lock().await.lost += 1;
    }

    async fn search(&self, connection: &mut Option<Connection>, request: &[u8], marker: &str) -> anyhow::Result<bool> {
        let usable = connection.take().filter(Connection::is_open);
        let connection = connection.insert(match usable {
            Some(usable) => usable,
            None => Connection::open(&self.endpoint).await?,
        });
        let answer = connection.exchange(request).await?;
        anyhow::ensure!(answer.status == 200, "POST /api/search: {} {}", answer.status, answer.excerpt());
        Ok(holds(&answer.body, marker))
    }

    fn request(&self, marker: &str) -> Vec<u8> {
        let body = match self.kind {
            Kind::Raw => json!({"language": "raw", "query": marker, "limit": 1}),
            Kind::Udm | Kind::Entity => {
                let query = format!("metadata.product_log_id = \"{marker}\"");
                json!({"language": "udm", "query": query, "limit": 1})
            }
        };
        let body = body.to_string();
        let mut request =
            self.endpoint.head("POST", "/api/search", self.authorization.as_deref(), false, body.len()).into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// Whether a search's answer has a row with the marker. The last line, which says that the search is done, is no row.
fn holds(answer: &[u8], marker: &str) -> bool {
    answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).any(|line| {
        serde_json::from_slice::<Value>(line)
            .is_ok_and(|row| row.get("done").is_none() && row.to_string().contains(marker))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_counts_as_found() {
        for (answer, expected) in [
            ("{\"id\":\"1\",\"text\":\"x abc y\"}\n{\"done\":true,\"rows\":1}\n", true),
            ("{\"id\":\"1\",\"text\":\"x abd y\"}\n{\"done\":true,\"rows\":1}\n", false),
            ("{\"done\":true,\"rows\":0,\"query\":\"abc\"}\n", false),
            ("", false),
            ("abc", false),
        ] {
            assert_eq!(holds(answer.as_bytes(), "abc"), expected, "{answer}");
        }
    }
}
