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

pub use device::{Device, DeviceChoice, Gpus, UnknownDevice};
pub use features::{Features, feature_shape, pool};
pub use kernels::Kernels;
pub use precision::{Precision, lacking};
pub use ranges::{Calibration, ChannelRanges, Observed, Ranges};

use crate::image::{Layout, Recipe};
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
    #[error("`extract.precision: {precision}` is not computed on the device `{device}`: {advice}")]
    Precision { precision: &'static str, device: String, advice: &'static str },
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

/// Prepared pictures, one after the other, each in the order of [`Network::layout`].
#[derive(Clone, Copy, Debug)]
pub enum Pictures<'a> {
    /// The values of the network's input.
    Values(&'a [f32]),
    /// The bytes of the resized pictures, which the device normalises by the recipe.
    Bytes(&'a [u8], &'a Recipe),
}

impl Pictures<'_> {
    /// The pictures from `first` on, `size` of `n`.
    fn part(self, first: usize, size: usize, n: usize) -> Self {
        let range = |len: usize| len / n * first..len / n * (first + size);
        match self {
            Self::Values(values) => Self::Values(&values[range(values.len())]),
            Self::Bytes(bytes, recipe) => Self::Bytes(&bytes[range(bytes.len())], recipe),
        }
    }
}

/// The values of the taps of a batch, which a GPU may still compute.
#[derive(Debug)]
pub enum Pending {
    Done(Vec<Vec<f32>>),
    Queued(candle::Pending),
}

impl Pending {
    /// Waits for the device; gives for each tap its values for all pictures, maps in Keras' order `(n, h, w, c)`.
    pub fn read(self) -> Result<Vec<Vec<f32>>, ExecError> {
        match self {
            Self::Done(taps) => Ok(taps),
            Self::Queued(pending) => pending.read(),
        }
    }
}

/// The buffers of one thread that runs a network, or of several that compute each layer together.
#[derive(Debug)]
pub struct Session {
    /// The number of the GPU, of those that run the network.
    unit: usize,
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
        check(device.name(), precision, kernels)?;
        if device.is_cpu() && kernels != Kernels::Reference {
            return Ok(Network::Cpu(match cpu::Engine::choose(kernels, precision)? {
                cpu::Engine::Int8(unit) => cpu::Network::quantised(program, unit, ranges.ok_or(ExecError::NoRanges)?)?,
                engine => cpu::Network::new(program, engine)?,
            }));
        }
        Ok(Network::Candle(candle::Network::with(program, device, precision)?))
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
        let Network::Cpu(network) = self else { return Session { unit: 0, scratch: None, pool: None } };
        // where no thread can be started, this one computes alone
        let pool = (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()).flatten();
        let threads = pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        Session { unit: 0, scratch: Some(network.scratch(threads)), pool }
    }

    /// Bytes of a [`session`](Self::session); 0 for candle, which allocates by itself.
    pub fn session_bytes(&self) -> u64 {
        match self {
            Network::Cpu(network) => network.scratch_bytes(),
            Network::Candle(_) => 0,
        }
    }

    /// The number of GPUs that each run the whole network; 1 on the CPU.
    pub fn units(&self) -> usize {
        match self {
            Network::Cpu(_) => 1,
            Network::Candle(network) => network.units(),
        }
    }

    /// Buffers for the thread of a GPU, by its number of those that run the network.
    pub fn session_on(&self, unit: usize) -> Session {
        Session { unit, ..self.session() }
    }

    /// Queues `n` pictures on a GPU; on the CPU, computes them. On the CPU a picture's bits do not depend on its
    /// neighbours.
    pub fn start(&self, session: &mut Session, pictures: Pictures, n: usize) -> Result<Pending, ExecError> {
        let network = match self {
            Network::Candle(network) => return Ok(Pending::Queued(network.start(session.unit, pictures, n)?)),
            Network::Cpu(network) => network,
        };
        let normalised: Vec<f32>;
        let values = match pictures {
            Pictures::Values(values) => values,
            Pictures::Bytes(bytes, recipe) => {
                let channels = (0..recipe.depth()).cycle();
                normalised = channels.zip(bytes).map(|(c, &byte)| recipe.normalise(c, byte)).collect();
                &normalised
            }
        };
        let scratch = session.scratch.get_or_insert_with(|| network.scratch(1));
        Ok(Pending::Done(match &session.pool {
            Some(pool) => pool.install(|| network.forward(scratch, values, n)),
            None => network.forward(scratch, values, n),
        }))
    }

    /// Runs `n` pictures; gives for each tap its values for all pictures, maps in Keras' order `(n, h, w, c)`.
    pub fn forward(&self, session: &mut Session, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        self.start(session, Pictures::Values(pictures), n)?.read()
    }

    /// The most pictures that the GPU of a session computes at once, if its memory was too small for a batch.
    pub fn largest_batch(&self, session: &Session) -> Option<usize> {
        match self {
            Network::Cpu(_) => None,
            Network::Candle(network) => network.largest_batch(session.unit),
        }
    }

    /// Pictures that a thread takes through the network together.
    pub fn micro_batch(&self) -> usize {
        match self {
            Network::Cpu(_) => cpu::MICRO_BATCH,
            Network::Candle(_) => 1,
        }
    }
}

/// An error where the device of that name, or these kernels of it, cannot compute in that precision.
pub fn check(device: &str, precision: Precision, kernels: Kernels) -> Result<(), ExecError> {
    let advice = match device {
        "cpu" if precision.is_for_cpu() => return kernels.check(precision, None),
        "cpu" => "set `runtime.device: cuda`, or `f32` or `bf16` as the precision",
        _ if !precision.is_for_gpu() => "set `runtime.device: cpu`, or `f32` or `bf16` as the precision",
        "metal" if precision == Precision::Tf32 => "NVIDIA's GPUs have it; set `f32` or `bf16` as the precision",
        gpu => return kernels.check(precision, Some(gpu)),
    };
    Err(ExecError::Precision { precision: precision.word(), device: device.to_string(), advice })
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
