//! Runs networks: a graph is lowered once ([`lower`]), then executed by our own kernels on the CPU ([`cpu`]) or by
//! candle on a GPU ([`candle`]).

pub mod candle;
pub mod cpu;
mod device;
mod features;
mod kernels;
pub mod lower;
mod precision;
mod ranges;

use thiserror::Error;

pub use device::{Device, DeviceChoice, UnknownDevice};
pub use features::{Features, feature_shape, pool};
pub use kernels::Kernels;
pub use precision::{Precision, lacking};
pub use ranges::{Calibration, ChannelRanges, Observed, Ranges};

use crate::image::Layout;
use crate::memory::NoRoom;
use crate::threads::ThreadError;
use crate::weights::WeightError;

/// A network cannot be run.
#[derive(Debug, Error)]
pub enum ExecError {
    #[error("a worker thread died; this is a fault of featurize")]
    Worker,
    #[error(transparent)]
    Threads(#[from] ThreadError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error("the device `{device}` was asked for, but {reason}")]
    Device { device: String, reason: String },
    #[error("`runtime.kernels: {kernels}` was asked for, but {reason}")]
    Kernels { kernels: &'static str, reason: String },
    #[error(
        "`extract.precision: {precision}` is computed on the CPU only, but the device is `{device}`: set \
         `runtime.device: cpu`, or `f32` as the precision"
    )]
    Precision { precision: &'static str, device: String },
    #[error(
        "`extract.precision: int8` wants the ranges of the network's values: name a file of them in \
         `extract.calibration`; `featurize embed PICTURES -o x.csv --precision int8 --ranges FILE` writes one"
    )]
    NoRanges,
    #[error("the ranges have no layer `{layer}` of this network: they belong to another one, or to other layers of it")]
    NoRange { layer: String },
    #[error("layer `{layer}`: {reason}")]
    Layer { layer: String, reason: String },
    /// `picture` is the index of the picture in its batch.
    #[error(
        "layer `{layer}` gives {value} at place {at}, which is no finite number: values overflow on the way there; are \
         the weights and the recipe those of this network?"
    )]
    NotFinite { picture: usize, layer: String, at: usize, value: f32 },
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A network on the executor for its device; shared by all threads, each with a [`Session`] of its own.
#[derive(Debug)]
pub enum Network {
    Cpu(cpu::Network),
    Candle(candle::Network),
}

/// The buffers of one thread that runs a network, or of several that compute each layer together.
#[derive(Debug)]
pub struct Session {
    scratch: Option<cpu::Scratch>,
    /// The threads, where there are several.
    pool: Option<rayon::ThreadPool>,
}

impl Network {
    /// The network of `program` with maps and weights of that precision, on the CPU by those kernels; for int8 the
    /// scales come from `ranges`.
    pub fn with(
        program: lower::Program,
        device: &Device,
        precision: Precision,
        kernels: Kernels,
        ranges: Option<&Ranges>,
    ) -> Result<Self, ExecError> {
        check(device, precision, kernels)?;
        if device.is_cpu() && kernels != Kernels::Reference {
            return Ok(Network::Cpu(match cpu::Engine::choose(kernels, precision)? {
                cpu::Engine::Int8(unit) => cpu::Network::quantised(program, unit, ranges.ok_or(ExecError::NoRanges)?)?,
                engine => cpu::Network::new(program, engine)?,
            }));
        }
        Ok(Network::Candle(candle::Network::new(program, device)?))
    }

    /// Packs or uploads the weights of `program`, all f32.
    pub fn new(program: lower::Program, device: &Device) -> Result<Self, ExecError> {
        Self::with(program, device, Precision::F32, Kernels::Auto, None)
    }

    /// The order of a picture's values at the input.
    pub fn layout(&self) -> Layout {
        match self {
            Network::Cpu(_) => Layout::Hwc,
            Network::Candle(_) => Layout::Chw,
        }
    }

    /// Buffers for one thread.
    pub fn session(&self) -> Session {
        self.shared_session(1)
    }

    /// Buffers for `threads` that compute each layer together, for fewer pictures than threads; the results are the
    /// same to the bit. A GPU needs none.
    pub fn shared_session(&self, threads: usize) -> Session {
        let Network::Cpu(network) = self else { return Session { scratch: None, pool: None } };
        // where no thread can be started, this one computes alone
        let pool = (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()).flatten();
        let threads = pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        Session { scratch: Some(network.scratch(threads)), pool }
    }

    /// Bytes of a [`session`](Self::session); 0 for candle, which allocates by itself.
    pub fn session_bytes(&self) -> u64 {
        match self {
            Network::Cpu(network) => network.scratch_bytes(),
            Network::Candle(_) => 0,
        }
    }

    /// Runs `n` pictures in the order of [`layout`](Self::layout); gives for each tap its values for all pictures, maps
    /// in Keras' order `(n, h, w, c)`. On the CPU a picture's bits do not depend on its neighbours.
    pub fn forward(&self, session: &mut Session, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let network = match self {
            Network::Candle(network) => return network.forward(pictures, n),
            Network::Cpu(network) => network,
        };
        let scratch = session.scratch.get_or_insert_with(|| network.scratch(1));
        Ok(match &session.pool {
            Some(pool) => pool.install(|| network.forward(scratch, pictures, n)),
            None => network.forward(scratch, pictures, n),
        })
    }

    /// Pictures that a thread takes through the network together.
    pub fn micro_batch(&self) -> usize {
        match self {
            Network::Cpu(_) => cpu::MICRO_BATCH,
            Network::Candle(_) => 1,
        }
    }
}

/// An error where the device, or these kernels of it, cannot compute in that precision.
pub fn check(device: &Device, precision: Precision, kernels: Kernels) -> Result<(), ExecError> {
    kernels.check(precision, (!device.is_cpu()).then(|| device.name()))?;
    if device.is_cpu() || precision == Precision::F32 {
        return Ok(());
    }
    Err(ExecError::Precision { precision: precision.word(), device: device.name().to_string() })
}

/// The first value that is NaN or infinite, and its place.
pub fn not_finite(values: &[f32]) -> Option<(usize, f32)> {
    // the largest bit pattern is found without a branch for each value, since nearly always all are finite
    let largest = values.iter().fold(0, |largest, value| (value.to_bits() & !(1 << 31)).max(largest));
    if largest < f32::INFINITY.to_bits() {
        return None;
    }
    values.iter().copied().enumerate().find(|(_, value)| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_no_number_is_found() {
        assert_eq!(not_finite(&[0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE / 2.0]), None);
        assert_eq!(not_finite(&[]), None);
        assert_eq!(not_finite(&[1.0, f32::NEG_INFINITY, f32::NAN]), Some((1, f32::NEG_INFINITY)));
        assert!(not_finite(&[1.0, 2.0, -f32::NAN]).is_some_and(|(at, value)| at == 2 && value.is_nan()));
    }
}
