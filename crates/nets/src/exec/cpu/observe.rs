//! A network in f32 that reports statistics of every value, for calibration.

use super::engine::Engine;
use super::network::{Network, Scratch};
use crate::exec::lower::Program;
use crate::exec::ranges::{Observed, Seen};
use crate::exec::{ExecError, Kernels, Precision};

/// The name of the picture among the layers.
pub(crate) const PICTURE: &str = "input";

/// A network that reports statistics of its values.
#[derive(Debug)]
pub struct Observer {
    network: Network,
    names: Vec<Option<String>>,
}

/// The layer that computes each value of a program.
pub(crate) fn names(program: &Program) -> Vec<Option<String>> {
    let mut names = vec![None; program.last_use.len()];
    names[0] = Some(PICTURE.to_string());
    program.steps.iter().for_each(|step| names[step.output] = Some(step.layer.clone()));
    names
}

impl Observer {
    /// Packs the weights of `program` for these kernels.
    pub fn new(program: Program, kernels: Kernels) -> Result<Self, ExecError> {
        let (names, engine) = (names(&program), Engine::choose(kernels, Precision::F32)?);
        Ok(Self { network: Network::planned(program, engine, false)?, names })
    }

    /// Buffers for one picture at a time.
    pub fn scratch(&self) -> Scratch {
        self.network.scratch(1)
    }

    /// Runs a picture `(h, w, c)` and gives the statistics of each layer.
    pub fn observe(&self, scratch: &mut Scratch, picture: &[f32]) -> Observed {
        let mut layers = Vec::new();
        self.network.observe(scratch, picture, &mut |value, map, values| {
            if let Some(Some(name)) = self.names.get(value) {
                let runs = map.runs(map.is_dense()).map(|run| &values[run]);
                layers.push((name.clone(), Seen::of(map.c, runs)));
            }
        });
        Observed { layers }
    }
}
