//! Work in several threads whose results come in the order of the work.
//!
//! Thread `n` of `k` gets the pieces `n`, `n + k`, … and its results are taken in just that turn. Both ways are short
//! channels: whoever is ahead waits, so however much there is, little of it is in memory.

use std::sync::mpsc::sync_channel;

/// How many pieces wait for a thread, and how many results of one.
const WAITING_MAX: usize = 2;

/// Has every piece worked on by one of `threads` threads and its result taken here, in order. `worker` is called once in
/// each thread for what that thread keeps.
pub fn in_order<I, T, W>(
    threads: usize,
    pieces: impl Iterator<Item = I> + Send,
    worker: impl Fn() -> W + Sync,
    mut take: impl FnMut(T),
) where
    I: Send,
    T: Send,
    W: FnMut(I) -> T,
{
    std::thread::scope(|scope| {
        let mut ways_in = Vec::new();
        let mut ways_out = Vec::new();
        for _ in 0..threads.max(1) {
            let (give, given) = sync_channel::<I>(WAITING_MAX);
            let (done, taken) = sync_channel::<T>(WAITING_MAX);
            ways_in.push(give);
            ways_out.push(taken);
            let worker = &worker;
            scope.spawn(move || {
                let mut work = worker();
                for piece in given {
                    if done.send(work(piece)).is_err() {
                        break;
                    }
                }
            });
        }
        scope.spawn(move || {
            for (number, piece) in pieces.enumerate() {
                if ways_in[number % ways_in.len()].send(piece).is_err() {
                    break;
                }
            }
        });
        // The first thread without a result in its turn is at its end, and all later turns with it.
        let mut turn = 0;
        while let Ok(result) = ways_out[turn % ways_out.len()].recv() {
            take(result);
            turn += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_the_order_of_the_work() {
        for threads in [0, 1, 2, 3, 8] {
            for count in [0, 1, 2, 7, 100] {
                let mut found = Vec::new();
                in_order(
                    threads,
                    0..count,
                    || {
                        move |number: u32| {
                            if number.is_multiple_of(3) {
                                std::thread::yield_now();
                            }
                            number * 2
                        }
                    },
                    |result| found.push(result),
                );
                assert_eq!(found, (0..count).map(|number| number * 2).collect::<Vec<_>>(), "{threads} {count}");
            }
        }
    }
}
