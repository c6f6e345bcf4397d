//! Pretrained networks for pictures: from the name of a model to the features of a picture, on the CPU or on a GPU.
//!
//! ```text
//! models ──────┐
//! weights ─────┼─> network_plan ──> exec::lower ──> exec::cpu or exec::candle
//! the asker's ─┘   which network,   the steps of    the same steps with the CPU's
//! choices          which weights,   the network     kernels, or with candle on a
//!                  which layers                     GPU (and, as a reference, the CPU)
//! ```
//!
//! Read in this order:
//!
//! 1. [`models`]: a network is data, a [`Graph`](models::Graph) of named layers with inferred shapes. Each family has a
//!    file that builds its graphs in the order of its Keras or torchvision source; the registry lists the models, and
//!    for each the weights that libraries publish, with the recipe that prepares pictures for them.
//! 2. [`weights`]: the readers of every library's files. They list tensors by name, and read the values on demand.
//!    [`weights::store`] finds files on this machine or downloads them, and checks their hashes. [`onnx`] reads
//!    networks that bring their own graph.
//! 3. [`network_plan`]: all decisions before weights are read. [`NetworkPlan`] names the model, the weights, the
//!    recipe, and the layers that become features.
//! 4. [`exec`]: the graph is lowered once, with batch norm and activations joined to the layers before them, and then
//!    run. [`exec::cpu`] plans the memory of all maps and the order of rows, and calls the kernels of
//!    `featurize-kernels`; [`exec::candle`] calls candle.
//! 5. [`Extractor`]: a network that is ready to run, as a function from pictures to features.
//!
//! Four small modules are for the callers, too: [`files`] writes files whole or not at all, [`memory`] finds the limit
//! of memory, [`threads`] starts threads where the system may refuse them, and [`suggest`] finds names that are similar
//! to a misspelt one.
//!
//! Features of a picture:
//!
//! ```
//! use featurize_image::RgbImage;
//! use featurize_nets::{Extractor, NetworkPlan, exec::Device, weights::Weights};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // these weights are inside the library; others are found or downloaded by `weights::store::Store::get`
//! let mut fetch = |_: &_| unreachable!("nothing has to be fetched");
//! let plan = NetworkPlan::of_model("efficientnet_lite0", &Weights::Bundled, &mut fetch)?;
//! let extractor = Extractor::open(&plan, &Device::cpu())?;
//! let picture = RgbImage::from_fn(320, 240, |x, y| [x as u8, y as u8, 128]); // or extractor.decode(bytes of a file)
//! let mut input = vec![0.0; extractor.input_len()];
//! extractor.prepare(&picture, &mut input);
//! let features = extractor.forward(&mut extractor.session(), &input, 1)?;
//! assert_eq!(features[0].len(), 1280);
//! # Ok(())
//! # }
//! ```
//!
//! This crate has no pipeline, no table and no terminal: it reports progress to functions of the caller, see
//! [`weights::store::Watch`].

// the calls of cuDNN are the only unsafe ones
#![cfg_attr(not(feature = "cudnn"), forbid(unsafe_code))]
#![cfg_attr(feature = "cudnn", deny(unsafe_code))]

pub mod calibrate;
pub mod exec;
pub mod extractor;
pub mod files;
pub mod memory;
pub mod models;
pub mod network_plan;
pub mod onnx;
pub mod suggest;
pub mod threads;
pub mod weights;

pub use calibrate::Calibrator;
pub use extractor::{Extractor, Needs};
pub use network_plan::NetworkPlan;

use featurize_image as image;
