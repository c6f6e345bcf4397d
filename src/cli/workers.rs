//! The flags of every command that sends many pictures through a network: the device, the number of threads, and the
//! memory for pictures.

use clap::Args;

use crate::config::{self, Size};
use crate::error::Error;
use crate::exec::Device;
use crate::memory;
use crate::pictures::{DecodeMemory, Order, Source, Stream};
use crate::progress::Ui;
use crate::threads;

/// Device, threads and memory.
#[derive(Clone, Copy, Debug, Args)]
pub struct WorkerArgs {
    /// Where the network runs: `auto` (a GPU where this build and machine have one, else the CPU), `cpu`, `cuda`,
    /// `cuda:N`, `cuda:N,N`, `cuda:all` or `metal`. Default: the kind of device that the run was computed on; where
    /// there is no run, `auto`.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<config::Device>,
    /// Threads, each with a picture at a time, 1 to 1024; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=threads::MOST as i64))]
    threads: Option<u16>,
    /// Memory that pictures may take together while they are decoded, as `2GiB` or `500MB`; by default a quarter of the
    /// memory there is.
    #[arg(long, value_name = "SIZE")]
    decode_memory: Option<Size>,
}

impl WorkerArgs {
    /// The number of threads, by default one per core.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(threads::available, usize::from)
    }

    /// The device of a command without a run.
    pub fn open_device(&self) -> Result<Device, Error> {
        Ok(Device::open(self.device.unwrap_or_default())?)
    }

    /// The memory that all pictures share while they are decoded.
    pub fn memory(&self) -> DecodeMemory {
        DecodeMemory::new(self.decode_memory.map_or_else(memory::for_decoding, Size::bytes))
    }

    /// A stream over the `wanted` pictures of `source`, in order.
    pub fn stream<'a>(&self, source: &'a dyn Source, wanted: &'a [usize], ui: &'a Ui) -> Stream<'a> {
        Stream { source, wanted, threads: self.threads(), order: Order::Asked, ui }
    }
}
