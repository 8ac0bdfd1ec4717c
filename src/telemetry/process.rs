//! What the kernel says about this process.
//!
//! Owns [`ProcessStats`], read from `/proc` when somebody asks. Nothing is kept between two readings; a file
//! that cannot be read leaves its numbers out.

use std::fs;

/// Clock ticks per second in `/proc/self/stat`: fixed by Linux towards programs, whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// One reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessStats {
    /// Memory in use, bytes.
    pub rss: Option<u64>,
    /// CPU time in user mode, milliseconds.
    pub user_ms: Option<u64>,
    /// CPU time in the kernel, milliseconds.
    pub system_ms: Option<u64>,
    /// Open files and sockets.
    pub handles: Option<u64>,
    /// Most open files, may be raised by the process.
    pub handles_soft: Option<u64>,
    /// Most open files.
    pub handles_hard: Option<u64>,
    /// Load of the machine over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Cores this process may use.
    pub cores: Option<u64>,
}

impl ProcessStats {
    /// How things are now.
    pub fn read() -> Self {
        let mut stats = Self {
            rss: read("/proc/self/status").as_deref().and_then(rss),
            handles: fs::read_dir("/proc/self/fd")
                .ok()
                // The reading itself holds one.
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            load: read("/proc/loadavg").as_deref().and_then(load),
            cores: std::thread::available_parallelism()
                .ok()
                .map(|cores| cores.get() as u64),
            ..Self::default()
        };
        if let Some((user, system)) = read("/proc/self/stat").as_deref().and_then(cpu_ms) {
            stats.user_ms = Some(user);
            stats.system_ms = Some(system);
        }
        if let Some((soft, hard)) = read("/proc/self/limits").as_deref().and_then(open_files) {
            stats.handles_soft = soft;
            stats.handles_hard = hard;
        }
        stats
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// User and system time. The second field is the program's name and may hold anything, blanks and brackets
/// included: counting starts after its last bracket.
fn cpu_ms(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(11);
    let mut next = || -> Option<u64> { Some(times.next()?.parse::<u64>().ok()? * 1000 / TICKS_PER_SECOND) };
    Some((next()?, next()?))
}

/// The soft and hard limit; `None` within = unlimited.
fn open_files(limits: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut columns = line.split_ascii_whitespace().map(|word| word.parse().ok());
    Some((columns.next()?, columns.next()?))
}

fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_memory() {
        assert_eq!(rss("VmPeak:\t  9 kB\nVmRSS:\t   7168 kB\n"), Some(7_340_032));
        assert_eq!(rss("VmPeak:\t  9 kB\n"), None);
    }

    #[test]
    fn reads_cpu_time_of_a_program_with_an_awkward_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 31 0 0 20 0 4 0 9 1 2";
        assert_eq!(cpu_ms(stat), Some((2500, 310)));
        assert_eq!(cpu_ms("7 (x) S 1"), None);
    }

    #[test]
    fn reads_limits_and_load() {
        let limits =
            "Limit   Soft  Hard  Units\nMax open files            1024                 unlimited   files\n";
        assert_eq!(open_files(limits), Some((Some(1024), None)));
        assert_eq!(load("0.52 0.58 0.59 1/467 12345\n"), Some([0.52, 0.58, 0.59]));
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        let stats = ProcessStats::read();
        assert!(stats.rss.unwrap() > 100_000);
        assert!(stats.handles.unwrap() >= 3);
        assert!(stats.user_ms.is_some() && stats.cores.unwrap() >= 1);
    }
}
