//! What a process of this machine has used, read from `/proc`: processor time and memory. Linux only, and only for a
//! server on the same machine; elsewhere the bench goes without these figures and says so.

use std::path::Path;

/// Readings of one process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time in user and system mode of all its threads since it started, in seconds.
    pub cpu_secs: f64,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
    /// Most memory that it ever had resident, in bytes.
    pub resident_peak_bytes: u64,
}

impl Usage {
    /// Reads process `pid`; `None` where there is no such process or no `/proc`.
    pub fn read(pid: u32) -> Option<Usage> {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        Usage::parse(&stat, &status, ticks_per_sec())
    }

    fn parse(stat: &str, status: &str, ticks_per_sec: f64) -> Option<Usage> {
        // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
        let after_name = &stat[stat.rfind(')')? + 1..];
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let kilobytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Usage {
            cpu_secs: (user + system) as f64 / ticks_per_sec,
            resident_bytes: kilobytes("VmRSS")? * 1024,
            resident_peak_bytes: kilobytes("VmHWM")? * 1024,
        })
    }
}

/// Stages of the server by the names of their threads, in flow order. What is in none of them (sockets, requests, searches) is
/// the front door.
const STAGES: [(&str, &[&str]); 3] = [("commit", &["log-"]), ("normalise", &["normalise-"]), ("store", &["store"])];
/// The rest.
const FRONT_DOOR: &str = "receive";

/// Processor time that the threads of each stage have used since they started, in seconds, in flow order. Threads that have
/// ended count as the front door's, whose threads alone come and go.
pub fn cpu_secs_by_stage(pid: u32, all_secs: f64) -> Option<Vec<(&'static str, f64)>> {
    let mut secs = vec![(FRONT_DOOR, all_secs)];
    secs.extend(STAGES.map(|(stage, _)| (stage, 0.0)));
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    for entry in std::fs::read_dir(tasks).ok()?.flatten() {
        // One that ends meanwhile is not there.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some(name), Some((_, ticks))) = (thread_name(&stat), parent_and_ticks(&stat)) else { continue };
        let stage = STAGES.iter().position(|(_, starts)| starts.iter().any(|start| name.starts_with(start)));
        if let Some(stage) = stage {
            let of_thread = ticks as f64 / ticks_per_sec();
            secs[stage + 1].1 += of_thread;
            secs[0].1 -= of_thread;
        }
    }
    Some(secs)
}

fn thread_name(stat: &str) -> Option<&str> {
    stat.get(stat.find('(')? + 1..stat.rfind(')')?)
}

/// Processor time of all processes below this one, such as those of functions, in seconds. Those that have ended are not in
/// it. `None` where there is no `/proc`.
pub fn cpu_secs_below(pid: u32) -> Option<f64> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that ends meanwhile is not there.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((parent, ticks)) = parent_and_ticks(&stat) {
            all.push((pid, parent, ticks));
        }
    }
    Some(ticks_below(pid, &all) as f64 / ticks_per_sec())
}

fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = after_name.split_ascii_whitespace().take(13).collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}

/// Of processes with their parents and their time.
fn ticks_below(pid: u32, all: &[(u32, u32, u64)]) -> u64 {
    let mut below = vec![pid];
    let (mut next, mut sum) = (0, 0);
    while let Some(&above) = below.get(next) {
        for &(child, _, ticks) in all.iter().filter(|&&(child, parent, _)| parent == above && child != above) {
            below.push(child);
            sum += ticks;
        }
        next += 1;
    }
    sum
}

fn ticks_per_sec() -> f64 {
    // SAFETY: sysconf only reads a constant of the system; it takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        let stat = "4321 (a) b (c) S 1 4321 4321 0 -1 4194560 9 0 0 0 250 50 7 7 20 0 9 0 1 2 3";
        let status = "Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t     256 kB\n";
        let usage = Usage { cpu_secs: 3.0, resident_bytes: 256 << 10, resident_peak_bytes: 512 << 10 };
        assert_eq!(Usage::parse(stat, status, 100.0), Some(usage));
        assert_eq!(Usage::parse("4321 (x) Z 1", "Name:\tx\n", 100.0), None);
    }

    #[test]
    fn whatever_is_below_a_process_counts() {
        let stat = "4321 (a) b (c) S 12 4321 4321 0 -1 4194560 9 0 0 0 250 50 7 7 20 0 9 0 1 2 3";
        assert_eq!(parent_and_ticks(stat), Some((12, 300)));
        assert_eq!(parent_and_ticks("4321 (x) Z 1"), None);
        let all = [(2, 1, 1), (3, 2, 10), (4, 3, 100), (5, 1, 1_000), (6, 2, 10_000)];
        for (pid, ticks) in [(1, 11_111), (2, 10_110), (3, 100), (4, 0), (9, 0)] {
            assert_eq!(ticks_below(pid, &all), ticks, "{pid}");
        }
        assert!(cpu_secs_below(std::process::id()).is_some());
    }

    #[test]
    fn reads_this_process() {
        let usage = Usage::read(std::process::id()).unwrap();
        assert!(usage.resident_peak_bytes >= usage.resident_bytes && usage.resident_bytes > 100_000);
        assert_eq!(Usage::read(u32::MAX), None);
    }
}
