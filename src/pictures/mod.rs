//! Every command and every stage reads pictures, and sends them through a network, by this module.
//!
//! ```text
//! Source ──open──> DecodeMemory ──bytes──> Extractor ──features──> the asker's `finish` ──> the asker's `take`
//! where they lie   room for one picture    decode, recipe,         columns, PCA, MLP        tables, lines of text,
//!                  is waited for           network, pooling        (see Predictor)          sheets, archives
//!                  └────────────────────────── Stream: threads, device, order, errors ─────────────────────────┘
//! ```
//!
//! * [`source`]: the source of the pictures' bytes, and the reasons why a picture may have none.
//! * [`reader`]: reads the bytes, within limits and within the memory that all pictures share.
//! * [`stream`]: the only driver of threads and devices.
//! * [`calibrate`]: the ranges of a network's activations over some pictures, for `int8`.
//! * [`predictor`]: an extractor and the classifier on top of it.

pub mod calibrate;
pub mod predictor;
pub mod reader;
pub mod source;
pub mod stream;

pub use predictor::{Predictor, PredictorError};
pub use reader::{DecodeMemory, PictureBytes, Shown};
pub use source::{Failure, Listed, Named, Opened, Source};
pub use stream::{Done, Made, Order, Stream, StreamError, Way};
