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
    fn reads_this_process() {
        let usage = Usage::read(std::process::id()).unwrap();
        assert!(usage.resident_peak_bytes >= usage.resident_bytes && usage.resident_bytes > 100_000);
        assert_eq!(Usage::read(u32::MAX), None);
    }
}
