//! featurize: folders of pictures → feature tables and a classifier, from one YAML file.
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
//! Read [`pipeline`] first: it is the main path. Three parts are crates of their own: `featurize-image` (picture files to the network's input; here
//! [`image`]), `featurize-kernels` (layers on the CPU, and all `unsafe` code) and `featurize-learn` (linfa models with scikit-learn's numbers; here
//! [`learn`] and [`table`]). The modules of this crate:
//!
//! * [`config`]: what the user wrote, checked, with line and column; [`plan`]: what follows from it.
//! * [`stages`]: one function a stage, `run(plan, …, ui) -> (result, files)`; a stage never calls a stage.
//! * [`models`]: networks as data ([`models::graph`]), each built after the library whose weights it gets, and the registry of models and weights.
//! * [`weights`]: files of every library, read strictly and only when a tensor is asked for; [`weights::store`] finds or downloads them.
//! * [`exec`]: a network is lowered once and then run, on the CPU with the kernels ([`exec::cpu`]), on a GPU with candle, which is the reference, too.
//! * [`backbone`]: the network of a run, decided upon: model, weights, recipe, layers. [`extractor`]: the one way of a picture through it.
//! * [`io`]: atomic files, Parquet; the only module that uses polars, arrow and parquet. [`store`]: what a run has committed, whose the files of its
//!   folder are, fingerprints, the lock.
//! * [`chain`]: what a run has learnt, or a network knows, applied to any picture.
//! * [`plot`]: figures of classified pictures. [`progress`]: what the user sees; [`terminal`]: what a terminal may see. [`memory`] and [`threads`]:
//!   how much there is of both. [`cli`]: the commands.
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
//! Everything fitted is fitted on the train split only. The ecosystems meet only as [`table::FeatureMatrix`].

#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

pub mod backbone;
pub mod chain;
pub mod cli;
pub mod config;
#[cfg(test)]
mod docs;
pub mod error;
pub mod exec;
pub mod extractor;
pub mod io;
pub mod memory;
pub mod models;
pub mod pipeline;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod stages;
pub mod store;
pub mod terminal;
pub mod threads;
pub mod weights;

pub use error::Error;
pub use featurize_image as image;
pub use featurize_learn::{self as learn, table};
