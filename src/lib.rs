//! featurize: turns folders of pictures into feature tables and a classifier, by one YAML file.
//!
//! ```text
//! YAML --config--> Pipeline --plan--> Plan
//!
//! scan ──> extract ───────────────────────────> select ──> reduce ──> train ──> evaluate ──> report
//! listing [decode ▸ recipe ▸ forward ▸ write]   columns     PCA        MLP       metrics      html
//!               └──> compare (copies, labels in doubt, outliers) ───────────────────────────────┘
//!    └────────── each stage commits its result to the run store; what is committed is not computed again ──────────┘
//! ```
//!
//! Read [`pipeline`] first: it runs the stages. Four parts are crates of their own: `featurize-image` (from picture
//! files to the network's input; here [`image`]), `featurize-kernels` (layers on the CPU, and all `unsafe` code),
//! `featurize-nets` (networks and their weights, and running them; here [`models`], [`weights`], [`network_plan`],
//! [`exec`], [`memory`] and [`threads`]) and `featurize-learn` (linfa models with the same numbers as scikit-learn;
//! here [`learn`] and [`table`]). The modules of this crate:
//!
//! * [`config`]: the checked settings of the user, with line and column; [`plan`]: everything that is derived from
//!   them.
//! * [`stages`]: one function per stage, `run(plan, …, ui) -> (result, files)`; a stage never calls another one.
//! * [`pictures`]: reads pictures and sends them through a network: the sources of their bytes, the driver of threads
//!   and devices, and the predictor, which applies a run's classifier, or a network's own, to any picture.
//! * [`io`]: atomic files, Parquet; the only module that uses polars. [`store`]: the committed results of a run, the
//!   files that belong to it, fingerprints, the lock.
//! * [`plot`]: figures of classified pictures. [`progress`]: progress bars and messages; [`terminal`]: escaping and
//!   colours for terminals. [`cli`]: the commands.
//!
//! Features of a picture from another program:
//!
//! ```
//! use featurize::{config, exec::Device, extractor::Extractor, image::RgbImage, plan::Plan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = config::parse("version: 1\ninput: {root: .}\n", "pipeline.yaml".as_ref(), &[])?;
//! let plan = Plan::new(pipeline, None, &mut |_| unreachable!("its weights are inside the library"))?;
//! let extractor = Extractor::open(&plan.backbone, &Device::cpu())?;
//! let picture = RgbImage::from_fn(320, 240, |x, y| [x as u8, y as u8, 128]); // or extractor.decode(bytes of a file)
//! let mut input = vec![0.0; extractor.input_len()];
//! extractor.prepare(&picture, &mut input);
//! let features = extractor.forward(&mut extractor.session(), &input, 1)?;
//! assert_eq!(features[0].len(), 1280);
//! # Ok(())
//! # }
//! ```
//!
//! All models are fitted on the train split only. Stages and learners exchange features only as
//! [`table::FeatureMatrix`].

#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

pub mod cli;
pub mod config;
#[cfg(test)]
mod docs;
pub mod error;
pub mod export;
pub mod io;
pub mod pictures;
pub mod pipeline;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod stage;
pub mod stages;
pub mod store;
pub mod terminal;

pub use error::Error;
pub use featurize_image as image;
pub use featurize_learn::{self as learn, table};
pub use featurize_nets::{exec, extractor, memory, models, network_plan, onnx, threads, weights};
