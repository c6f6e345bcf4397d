//! Calibration: runs pictures through a network in f32 and records the ranges of its values.

use crate::exec::cpu::{Observer, Scratch};
use crate::exec::{self, Device, ExecError, Observed};
use crate::image::{self, DecodeError, DecodeOptions, Decoded, Layout, Recipe, RgbImage};
use crate::network_plan::NetworkPlan;

/// The network of a plan in f32 with access to every layer; shared by all threads.
#[derive(Debug)]
pub struct Calibrator {
    decoding: DecodeOptions,
    recipe: Recipe,
    observer: Observer,
}

impl Calibrator {
    /// Reads the weights of `plan`, which is to be computed on `device`.
    pub fn open(plan: &NetworkPlan, device: &Device) -> Result<Self, ExecError> {
        exec::check(device.name(), plan.precision, plan.kernels)?;
        let layers = plan.layer_ids();
        let weights = plan.load()?;
        let program = exec::lower::lower(&plan.graph, &weights, &layers)?;
        drop(weights);
        let (decoding, recipe) = (plan.decoding.clone(), plan.recipe.clone());
        Ok(Self { decoding, recipe, observer: Observer::new(program, plan.kernels)? })
    }

    /// How files are decoded to the pixels that the recipe takes.
    pub fn decoding(&self) -> &DecodeOptions {
        &self.decoding
    }

    /// How pictures are prepared for the network.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        self.observer.scratch()
    }

    /// The picture in `bytes`, whatever its format.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        image::decode_for(&self.recipe, bytes, &self.decoding)
    }

    /// Prepares a picture by the recipe and records statistics of each layer's values.
    pub fn observe(&self, scratch: &mut Scratch, picture: &RgbImage) -> Observed {
        let mut input = vec![0.0; self.recipe.input_len()];
        self.recipe.apply(picture, Layout::Hwc, &mut input);
        self.observe_input(scratch, &input)
    }

    /// Records statistics of each layer's values for a prepared picture.
    pub fn observe_input(&self, scratch: &mut Scratch, input: &[f32]) -> Observed {
        self.observer.observe(scratch, input)
    }
}
