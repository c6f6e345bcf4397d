//! A network that is ready to run, as a function from pictures to features; and the memory that it needs, which is
//! checked before it is allocated.

use std::sync::Arc;

use crate::exec::{self, Device, ExecError, Features, Network, Pending, Pictures, Session};
use crate::image::{self, DecodeError, DecodeOptions, Decoded, Recipe, RgbImage};
use crate::memory::{self, Limit, NoRoom};
use crate::network_plan::{NetworkPlan, Tap};
use crate::weights::CheckpointKey;

/// Most threads that compute the layers of one picture together. Measured with two; a layer of a millisecond leaves
/// little work for many.
const SHARING: usize = 8;

/// Most bytes of prepared pictures that a thread holds, except for a single larger picture.
const INPUTS: usize = 64 << 20;

/// A network as a function from pictures to the features of some layers; shared by all threads.
#[derive(Debug)]
pub struct Extractor {
    decoding: DecodeOptions,
    recipe: Recipe,
    network: Network,
    features: Features,
    taps: Vec<Tap>,
    width: usize,
    /// Bytes of the weights.
    weights: u64,
    taken: CheckpointKey,
}

/// Prepared pictures for a device, one after the other: bytes, which the device normalises, or where the recipe gives
/// none the values of the network's input.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    values: Vec<f32>,
    bytes: Vec<u8>,
}

impl Prepared {
    /// Adds the pictures of `other`, which come from the same network.
    pub fn append(&mut self, other: Self) {
        self.values.extend(other.values);
        self.bytes.extend(other.bytes);
    }
}

/// Bytes that are needed for any number of threads, and bytes for each thread.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub fixed: u64,
    pub each: u64,
}

impl Needs {
    /// The most threads that fit into `bytes`.
    pub fn most(self, bytes: u64) -> usize {
        usize::try_from(bytes.saturating_sub(self.fixed) / self.each.max(1)).unwrap_or(usize::MAX)
    }

    /// Bytes for so many threads.
    pub fn of(self, threads: usize) -> u64 {
        self.fixed.saturating_add(self.each.saturating_mul(threads as u64))
    }
}

impl Extractor {
    /// Reads the weights of `plan` and puts them on `device`.
    pub fn open(plan: &NetworkPlan, device: &Device) -> Result<Self, ExecError> {
        check_weights(plan)?;
        let layers = plan.layer_ids();
        let weights = plan.load()?;
        let program = exec::lower::lower(&plan.graph, &weights, &layers)?;
        drop(weights);
        Ok(Self {
            decoding: plan.decoding.clone(),
            recipe: plan.recipe.clone(),
            network: Network::with(program, device, plan.precision, plan.kernels, plan.ranges.get().map(Arc::as_ref))?,
            features: plan.features,
            taps: plan.taps.clone(),
            width: plan.width(),
            weights: plan.weights_bytes(),
            taken: plan.taken.clone(),
        })
    }

    /// How files are decoded to the pixels that the recipe takes.
    pub fn decoding(&self) -> &DecodeOptions {
        &self.decoding
    }

    /// How pictures are prepared for the network.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The place of its weights in their file.
    pub fn taken(&self) -> &CheckpointKey {
        &self.taken
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of values that the network takes for one picture.
    pub fn input_len(&self) -> usize {
        self.recipe.input_len()
    }

    /// Pictures that a thread should run through the network together.
    pub fn micro_batch(&self) -> usize {
        let each = self.input_len() * size_of::<f32>();
        self.network.micro_batch().min(INPUTS / each.max(1)).max(1)
    }

    /// Buffers for one thread.
    pub fn session(&self) -> Session {
        self.network.session()
    }

    /// Buffers for so many threads, at most eight, that compute the layers of a picture together; the features are the
    /// same.
    pub fn shared_session(&self, threads: usize) -> Session {
        self.network.shared_session(threads.clamp(1, SHARING))
    }

    /// The picture in `bytes`, whatever its format.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        image::decode_for(&self.recipe, bytes, &self.decoding)
    }

    /// Writes the network's input for a picture: [`input_len`](Self::input_len) values.
    pub fn prepare(&self, picture: &RgbImage, input: &mut [f32]) {
        self.recipe.apply(picture, self.network.layout(), input);
    }

    /// A picture for a batch on a device.
    pub fn prepare_for_device(&self, picture: &RgbImage) -> Prepared {
        let (layout, mut prepared) = (self.network.layout(), Prepared::default());
        if self.recipe.gives_bytes() {
            prepared.bytes.resize(self.input_len(), 0);
            self.recipe.apply_bytes(picture, layout, &mut prepared.bytes);
        } else {
            prepared.values.resize(self.input_len(), 0.0);
            self.recipe.apply(picture, layout, &mut prepared.values);
        }
        prepared
    }

    /// Bytes of a picture for a batch on a device.
    pub fn prepared_bytes(&self) -> usize {
        self.input_len() * if self.recipe.gives_bytes() { 1 } else { size_of::<f32>() }
    }

    /// The number of GPUs that each run the whole network; 1 on the CPU.
    pub fn units(&self) -> usize {
        self.network.units()
    }

    /// Buffers for the thread of a GPU, by its number below [`units`](Self::units).
    pub fn session_on(&self, unit: usize) -> Session {
        self.network.session_on(unit)
    }

    /// Queues the `n` pictures from `first` on on the GPU of the session, and does not wait for the results; the CPU
    /// computes them. [`read`](Self::read) gives the features.
    pub fn start(
        &self,
        session: &mut Session,
        pictures: &Prepared,
        first: usize,
        n: usize,
    ) -> Result<Pending, ExecError> {
        let range = first * self.input_len()..(first + n) * self.input_len();
        let pictures = if self.recipe.gives_bytes() {
            Pictures::Bytes(&pictures.bytes[range], &self.recipe)
        } else {
            Pictures::Values(&pictures.values[range])
        };
        self.network.start(session, pictures, n)
    }

    /// The most pictures that the GPU of a session computes at once, if its memory was too small for a batch.
    pub fn largest_batch(&self, session: &Session) -> Option<usize> {
        self.network.largest_batch(session)
    }

    /// The features of one picture.
    ///
    /// The device fails, or a feature is not finite.
    pub fn features(&self, picture: &RgbImage) -> Result<Vec<f32>, ExecError> {
        let mut input = vec![0.0; self.input_len()];
        self.prepare(picture, &mut input);
        Ok(self.forward(&mut self.session(), &input, 1)?.remove(0))
    }

    /// Features of `n` prepared pictures, each of [`width`](Self::width) values: layer after layer, maps as (h, w, c).
    /// On the CPU a picture's bits do not depend on the other pictures. All are finite: [`ExecError::NotFinite`] names
    /// the first picture that has others.
    pub fn forward(&self, session: &mut Session, input: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        self.read(self.network.start(session, Pictures::Values(input), n)?, n)
    }

    /// Waits for the device, and gives the features of the `n` pictures of a batch as [`forward`](Self::forward).
    pub fn read(&self, pending: Pending, n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let taps = pending.read()?;
        let mut all = vec![vec![0.0; self.width]; n];
        let mut at = 0;
        for (tap, values) in self.taps.iter().zip(&taps) {
            let end = at + tap.shape.len();
            for (picture, (row, values)) in all.iter_mut().zip(values.chunks_exact(tap.map.len().max(1))).enumerate() {
                // the whole map is checked, since a maximum may hide NaN
                if let Some((at, value)) = exec::not_finite(values) {
                    return Err(ExecError::NotFinite { picture, layer: tap.name.clone(), at, value });
                }
                exec::pool(self.features, tap.map, values, &mut row[at..end]);
            }
            at = end;
        }
        Ok(all)
    }

    /// How maps become features, and the layers whose maps do.
    pub fn taps(&self) -> (Features, &[Tap]) {
        (self.features, &self.taps)
    }

    /// The order of a picture's values at the input.
    pub fn layout(&self) -> image::Layout {
        self.network.layout()
    }

    /// The output of each layer for one prepared picture, before it becomes features; a map as (h, w, c).
    pub fn maps(&self, session: &mut Session, input: &[f32]) -> Result<Vec<Vec<f32>>, ExecError> {
        self.network.forward(session, input, 1)
    }

    /// The memory of the network, and of each thread for its maps and inputs; decoded pictures have a budget of their
    /// own.
    pub fn needs(&self) -> Needs {
        let values = self.micro_batch() * (self.input_len() + self.width);
        Needs { fixed: self.weights, each: self.network.session_bytes() + (values * size_of::<f32>()) as u64 }
    }

    /// The error that even one thread needs too much memory; it names the size of the pictures.
    pub fn no_room(&self, needs: Needs, limit: &Limit) -> NoRoom {
        let [height, width] = self.recipe.size;
        NoRoom {
            subject: format!("`extract.recipe.size`: the network with pictures of {height}×{width} pixels"),
            needed: needs.of(1),
            limit: limit.clone(),
            advice: "take smaller pictures, or a smaller network".to_string(),
        }
    }

    /// The number of threads, at most `wanted`, for which there is memory.
    pub fn fitting(&self, wanted: usize) -> Result<usize, NoRoom> {
        let Some(limit) = memory::limit() else { return Ok(wanted) };
        let needs = self.needs();
        match needs.most(limit.bytes) {
            0 => Err(self.no_room(needs, limit)),
            most => Ok(wanted.min(most)),
        }
    }
}

/// An error if the weights of `plan` alone need more memory than there is.
fn check_weights(plan: &NetworkPlan) -> Result<(), NoRoom> {
    let needed = plan.weights_bytes();
    match memory::limit() {
        Some(limit) if needed > limit.bytes => Err(NoRoom {
            subject: format!("`extract.model`: the weights of {}", plan.name),
            needed,
            limit: limit.clone(),
            advice: "take a smaller network".to_string(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_fit_as_have_room_beside_the_weights() {
        let needs = Needs { fixed: 100, each: 30 };
        assert_eq!([99, 100, 129, 130, 190, 1000].map(|bytes| needs.most(bytes)), [0, 0, 0, 1, 3, 30]);
        assert_eq!(needs.of(3), 190);
        assert_eq!(Needs { fixed: 0, each: u64::MAX }.of(1000), u64::MAX);
    }
}
