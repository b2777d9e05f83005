//! The one thread that writes `deliver.db`. Whatever waits when it comes round is one transaction: many connectors share
//! one `fdatasync`, and a connector costs two switches of threads instead of two for each of its statements.
//!
//! Nobody is told before the transaction has committed. Where several pieces of work share one, each stands in a savepoint
//! of its own: one that fails is undone alone. If SQLite gave up the whole transaction (a full disk), all that was done in
//! it failed, and is told so.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::DeliverError;

/// Most pieces of work that share a transaction.
const TOGETHER_MAX: usize = 64;

/// The thread and its queue. Dropping it ends the thread once what was queued is done.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Writer> {
        let (queue, jobs) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("deliver.db".to_owned()).spawn(move || run(&connection, &jobs))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues work, and gives its outcome once it is on disk. It is done even if nobody waits.
    pub(super) fn write<T, W>(&self, work: W) -> impl Future<Output = Result<T, DeliverError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.queue(work, move |outcome| {
            // An error means that the connector was told to end meanwhile.
            let _ = tell.send(outcome);
        });
        async move { told.await.unwrap_or(Err(DeliverError::Writer)) }
    }

    /// The same, but waits for it on this thread.
    pub(super) fn write_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DeliverError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.queue(work, move |outcome| {
            let _ = tell.send(outcome);
        });
        told.recv().unwrap_or(Err(DeliverError::Writer))
    }

    fn queue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
        tell: impl FnOnce(Result<T, DeliverError>) + Send + 'static,
    ) {
        let queue = self.queue.as_ref().expect("the queue is there until the writer is dropped");
        // A thread that is gone drops the job, and with it `tell`, which is an answer, too.
        let _ = queue.send(Box::new(Piece { work: Some(work), value: None, tell }));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A piece of work whose type the queue does not know.
trait Job: Send {
    fn run(&mut self, connection: &Connection) -> Result<(), Failure>;
    fn tell(self: Box<Self>, outcome: Result<(), Failure>);
}

/// Why work was not done; shared by all whom it meets.
#[derive(Clone)]
enum Failure {
    Database(Arc<rusqlite::Error>),
    Panicked,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Database(Arc::new(error))
    }
}

struct Piece<T, W, R> {
    work: Option<W>,
    value: Option<T>,
    tell: R,
}

impl<T, W, R> Job for Piece<T, W, R>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send,
    R: FnOnce(Result<T, DeliverError>) + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Failure> {
        let work = self.work.take().expect("a piece of work is done once");
        // What a panic leaves half done is rolled back like any other failure.
        match std::panic::catch_unwind(AssertUnwindSafe(|| work(connection))) {
            Ok(outcome) => {
                self.value = Some(outcome?);
                Ok(())
            }
            Err(_) => Err(Failure::Panicked),
        }
    }

    fn tell(self: Box<Self>, outcome: Result<(), Failure>) {
        (self.tell)(match outcome {
            Ok(()) => self.value.ok_or(DeliverError::Writer),
            Err(Failure::Database(error)) => Err(DeliverError::Database(error)),
            Err(Failure::Panicked) => Err(DeliverError::Writer),
        });
    }
}

fn run(connection: &Connection, jobs: &mpsc::Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut together = vec![first];
        together.extend(jobs.try_iter().take(TOGETHER_MAX - 1));
        commit(connection, together);
    }
}

/// Does work in one transaction, or in several where one of them is given up midway.
fn commit(connection: &Connection, jobs: Vec<Box<dyn Job>>) {
    let apart = jobs.len() > 1;
    let mut waiting = jobs.into_iter();
    while waiting.len() > 0 {
        if let Err(failure) = statement(connection, "BEGIN IMMEDIATE") {
            waiting.for_each(|job| job.tell(Err(failure.clone())));
            return;
        }
        let mut done = Vec::with_capacity(waiting.len());
        let mut given_up = None;
        for mut job in waiting.by_ref() {
            let outcome = if apart { in_savepoint(connection, &mut *job) } else { job.run(connection) };
            match outcome {
                Ok(()) => done.push(job),
                Err(failure) => {
                    // Without a savepoint the transaction is only this work's.
                    if connection.is_autocommit() || !apart {
                        given_up = Some(failure.clone());
                    }
                    job.tell(Err(failure));
                    if given_up.is_some() {
                        break;
                    }
                }
            }
        }
        let outcome = match given_up {
            Some(failure) => Err(failure),
            None => statement(connection, "COMMIT"),
        };
        if outcome.is_err() && !connection.is_autocommit() {
            let _ = statement(connection, "ROLLBACK");
        }
        done.into_iter().for_each(|job| job.tell(outcome.clone()));
    }
}

fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Result<(), Failure> {
    statement(connection, "SAVEPOINT piece")?;
    let outcome = job.run(connection);
    if outcome.is_err() && !connection.is_autocommit() {
        statement(connection, "ROLLBACK TO piece")?;
    }
    if !connection.is_autocommit() {
        statement(connection, "RELEASE piece")?;
    }
    outcome
}

fn statement(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Story {
        jobs: Vec<Box<dyn Job>>,
        told: Arc<Mutex<Vec<(i64, bool)>>>,
    }

    impl Story {
        /// Work that inserts a number and then does this.
        fn add(&mut self, number: i64, then: impl FnOnce(&Connection) -> Result<(), rusqlite::Error> + Send + 'static) {
            let told = self.told.clone();
            self.jobs.push(Box::new(Piece {
                work: Some(move |connection: &Connection| {
                    connection.execute("INSERT INTO t VALUES (?1)", [number])?;
                    then(connection)
                }),
                value: None,
                tell: move |outcome: Result<(), DeliverError>| told.lock().unwrap().push((number, outcome.is_ok())),
            }));
        }

        /// What is in the table after, and who was told what.
        fn check(self, expected: &[i64], mut told: Vec<(i64, bool)>) {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
            commit(&connection, self.jobs);
            assert!(connection.is_autocommit());
            let mut select = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
            let found = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<i64>, _>>().unwrap();
            assert_eq!(found, expected);
            let mut said = self.told.lock().unwrap().clone();
            said.sort_unstable();
            told.sort_unstable();
            assert_eq!(said, told);
        }
    }

    fn story() -> Story {
        Story { jobs: Vec::new(), told: Arc::default() }
    }

    fn fails(connection: &Connection) -> Result<(), rusqlite::Error> {
        connection.execute("INSERT INTO nowhere VALUES (1)", []).map(drop)
    }

    #[test]
    fn one_that_fails_is_undone_alone() {
        let mut together = story();
        together.add(1, |_| Ok(()));
        together.add(2, fails);
        together.add(3, |_| Ok(()));
        together.check(&[1, 3], vec![(1, true), (2, false), (3, true)]);

        let mut alone = story();
        alone.add(1, fails);
        alone.check(&[], vec![(1, false)]);
    }

    #[test]
    fn a_panic_is_a_failure() {
        let mut together = story();
        together.add(1, |_| Ok(()));
        together.add(2, |_| panic!("as told"));
        together.check(&[1], vec![(1, true), (2, false)]);
    }

    #[test]
    fn a_transaction_that_is_given_up_fails_for_all_in_it_and_the_rest_goes_on() {
        let mut together = story();
        together.add(1, |_| Ok(()));
        // As SQLite does by itself when the disk is full.
        together.add(2, |connection| {
            connection.execute_batch("ROLLBACK")?;
            fails(connection)
        });
        together.add(3, |_| Ok(()));
        together.check(&[3], vec![(1, false), (2, false), (3, true)]);
    }

    #[tokio::test]
    async fn work_that_was_queued_is_done_before_the_end() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let writer = Writer::start(connection).unwrap();
        let insert =
            |number: i64| move |connection: &Connection| connection.execute("INSERT INTO t VALUES (?1)", [number]);
        let nobody_waits = writer.write(insert(1));
        drop(nobody_waits);
        assert_eq!(writer.write(insert(2)).await.unwrap(), 1);
        let sum =
            |connection: &Connection| connection.query_row("SELECT sum(n) FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(writer.write_now(sum).unwrap(), 3);
        assert!(matches!(writer.write_now(|_| -> Result<(), _> { panic!("as told") }), Err(DeliverError::Writer)));
        assert_eq!(writer.write_now(sum).unwrap(), 3);
    }
}
