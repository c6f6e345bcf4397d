//! The stages: units of work that are fingerprinted, committed and resumed. A stage never calls another one;
//! [`crate::pipeline`] does.

pub mod atlas;
pub mod compare;
pub mod evaluate;
pub mod extract;
pub mod reduce;
pub mod report;
pub mod scan;
pub mod select;
pub mod train;

pub mod fitting;
pub mod rows;

pub use crate::stage::StageId;
