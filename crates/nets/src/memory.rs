//! The peak memory of the process, in all and since a [`restart`]; the memory that it may use ([`limit`]); and a budget
//! of memory that threads share ([`Budget`]).

mod budget;
mod machine;

use std::sync::atomic::{AtomicU64, Ordering};

pub use budget::{Budget, Share};
pub use machine::{Limit, NoRoom, limit};

/// One part in so many of the memory is, by default, for pictures while they are decoded.
const DECODING: u64 = 4;
/// Bytes for decoding where the system does not report its memory.
const UNTOLD: u64 = 1 << 30;

/// The peak before the last [`restart`], in MB.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// The peak memory of this process in MB; none where the system does not report it.
pub fn peak_mb() -> Option<u64> {
    Some(now()?.max(BEFORE.load(Ordering::Relaxed)))
}

/// The peak since the last [`restart`], in MB. None where the system cannot reset its count.
pub fn peak_since_restart_mb() -> Option<u64> {
    (BEFORE.load(Ordering::Relaxed) > 0).then(now)?
}

/// Resets the peak, if the system can.
pub fn restart() {
    let Some(peak) = peak_mb() else { return };
    // Linux: 5 resets VmHWM to the current size
    if std::fs::write("/proc/self/clear_refs", "5").is_ok() {
        BEFORE.store(peak, Ordering::Relaxed);
    }
}

/// Bytes that pictures may take together while they are decoded, by default: a quarter of the memory.
pub fn for_decoding() -> u64 {
    limit().map_or(UNTOLD, |limit| limit.bytes / DECODING)
}

/// `999 B`, `1.5 kB`, `553.5 MB`, `1.2 GB`.
pub fn bytes(n: u64) -> String {
    match n {
        n if n < 1000 => format!("{n} B"),
        n if n < 1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        n if n < 1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        n => format!("{:.1} GB", n as f64 / 1e9),
    }
}

fn now() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_once_counts_in_all() {
        let Some(first) = peak_mb() else { return };
        let held = vec![1u8; 64 << 20];
        assert!(held.iter().map(|&byte| usize::from(byte)).sum::<usize>() == held.len());
        let with = peak_mb().expect("told before");
        assert!(with >= first && with >= 64, "{with} MB");
        drop(held);
        restart();
        assert!(peak_mb().expect("told before") >= with);
        if let Some(since) = peak_since_restart_mb() {
            assert!(since > 0);
        }
    }

    #[test]
    fn lengths_read_well() {
        assert_eq!(
            [0, 999, 1500, 553_467_096, 1_230_000_000].map(bytes),
            ["0 B", "999 B", "1.5 kB", "553.5 MB", "1.2 GB"]
        );
    }
}
