//! The flags of every command that takes many pictures through a network: how many threads do it, and how much memory pictures may have.

use clap::Args;

use crate::config::Size;
use crate::memory;
use crate::threads;

/// Threads and memory.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Threads, each with a picture at a time, 1 to 1024; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=threads::MOST as i64))]
    threads: Option<u16>,
    /// Memory that pictures may take together while they are decoded, as `2GiB` or `500MB`; by default a quarter of the memory there is.
    #[arg(long, value_name = "SIZE")]
    decode_memory: Option<Size>,
}

impl WorkerArgs {
    /// So many threads, or one a core.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(threads::available, usize::from)
    }

    /// Bytes for pictures.
    pub fn decode_memory(&self) -> u64 {
        self.decode_memory.map_or_else(memory::for_decoding, Size::bytes)
    }
}
