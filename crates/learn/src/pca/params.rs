//! The hyperparameters of the decompositions, with scikit-learn's names.

use schemars::JsonSchema;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::PcaError;
use crate::hyperparameters::{ParamError, Range, any_of, at_least_1, hyperparameters};
use crate::{inline_schema, read_forms};

/// The number of components that may be asked for.
const COMPONENTS: Range = Range::Whole(1, 1_000_000);

/// `reduce.pca`: principal components, fitted on the train split, as scikit-learn's `PCA`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Pca")]
pub struct PcaParams {
    /// The number of components; or, below 1, the share of the variance that they explain; or `mle`, the most probable
    /// number by Minka's estimate, which needs at least as many pictures as columns.
    #[schemars(extend("default" = 64))]
    pub components: Components,
    /// Whether every component is scaled to variance 1.
    pub whiten: bool,
}

hyperparameters! {
    /// `reduce.svd`: truncated singular value decomposition, fitted on the train split, as scikit-learn's
    /// `TruncatedSVD`.
    #[derive(Copy)]
    #[schemars(rename = "Svd")]
    pub struct SvdParams {
        /// The number of components.
        #[serde(deserialize_with = "svd_components")]
        pub components: usize = 64, in COMPONENTS;
    }
}

/// The number of principal components that are kept. A count above min(rows, columns) gives as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Components {
    /// This number, at least 1.
    Count(usize),
    /// The number of components that explain this share of the variance, in (0, 1).
    Fraction(f64),
    /// The most probable number, by Minka's estimate; needs as many rows as columns.
    Mle,
}

impl Default for Components {
    fn default() -> Self {
        Self::Count(64)
    }
}

inline_schema!(Components: any_of(&[
    COMPONENTS.schema(),
    json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
    json!({"const": "mle"}),
]));

impl PcaParams {
    /// Returns an error where the components are out of their range.
    pub fn check(&self) -> Result<(), ParamError> {
        match self.components {
            Components::Count(count) => COMPONENTS.check("components", count),
            Components::Fraction(share) if !(share > 0.0 && share < 1.0) => {
                Err(ParamError::range("components", "a number between 0 and 1", share))
            }
            Components::Fraction(_) | Components::Mle => Ok(()),
        }
    }

    /// Returns an error where a table of this shape cannot have the components.
    pub fn suits(&self, rows: u64, features: usize) -> Result<(), PcaError> {
        match self.components {
            Components::Mle if rows < features as u64 => Err(PcaError::MleRows { rows, features }),
            _ if rows < 2 || features == 0 => Err(PcaError::TooSmall { rows, features }),
            _ => Ok(()),
        }
    }
}

impl SvdParams {
    /// Returns an error where the number of components is out of its range.
    pub fn check(&self) -> Result<(), ParamError> {
        self.check_ranges()
    }

    /// Returns the number of components that a table of this shape gets.
    pub(super) fn k(&self, rows: usize, features: usize) -> usize {
        self.components.min(rows).min(features)
    }
}

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "how many components (a whole number of at least 1), how much of the variance (between \
                                0 and 1), or `mle`";
        read_forms!(deserializer, EXPECTED => Components {
            visit_u64(v: u64, Unsigned) => at_least_1(v).map(Components::Count),
            visit_str(v: &str, Str) => (v == "mle").then_some(Components::Mle);
            fn visit_f64<E: Error>(self, v: f64) -> Result<Components, E> {
                if v > 0.0 && v < 1.0 {
                    return Ok(Components::Fraction(v));
                }
                if v != 1.0 {
                    return Err(E::invalid_value(Unexpected::Float(v), &self));
                }
                Err(E::custom(
                    "1.0 can be read in two ways; write `1` for one component, `0.999` for nearly all of the variance, \
                     or leave `reduce` out to keep every column",
                ))
            }
        })
    }
}

/// Reads the number of singular vectors: shares and `mle` are for principal components.
fn svd_components<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    const EXPECTED: &str =
        "how many components (a whole number of at least 1; a share of the variance and `mle` are for `pca`)";
    read_forms!(deserializer, EXPECTED => usize { visit_u64(v: u64, Unsigned) => at_least_1(v) })
}
