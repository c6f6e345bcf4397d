//! The keys with which a pipeline overrides a recipe, and the form in which a recipe's numbers are written.

use super::{ChannelOrder, Filter, Fit, MAX_SIDE, Recipe, RecipeError};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// A library whose preprocessing replaces that of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// `load_img(target_size=…)` and the network's `preprocess_input`.
    Keras,
    /// The `transforms()` of the network's default weights.
    Torchvision,
    /// `create_transform` of the network's `pretrained_cfg`.
    Timm,
}

impl Recipe {
    /// Returns this recipe with the keys that `overrides` gives. The caller has already replaced the recipe by that of
    /// the preset.
    pub fn with(&self, overrides: &RecipeOverrides) -> Recipe {
        Recipe {
            size: overrides.size.unwrap_or(self.size),
            fit: overrides.fit.unwrap_or(self.fit),
            filter: overrides.filter.unwrap_or(self.filter),
            antialias: overrides.antialias.unwrap_or(self.antialias),
            crop_pct: overrides.crop_pct.unwrap_or(self.crop_pct),
            channels: overrides.channels.unwrap_or(self.channels),
            divisor: overrides.divisor.unwrap_or(self.divisor),
            mean: overrides.mean.unwrap_or(self.mean),
            std: overrides.std.unwrap_or(self.std),
        }
    }
}

impl RecipeOverrides {
    /// Checks that every value is within its range. Combinations of values are checked later, in the recipe that they
    /// override.
    pub fn check(&self) -> Result<(), RecipeError> {
        Recipe::TORCHVISION.with(self).check()
    }
}

/// Keys that override the recipe of the weights. A key that is left out keeps its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeOverrides {
    /// The library whose preprocessing for this network is used, whatever the weights are. Other keys override it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The network's input in pixels: one number for height and width, or `[height, width]`.
    #[serde(deserialize_with = "side_or_sides", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema_of_size")]
    pub size: Option<[usize; 2]>,
    /// How the shape of a picture becomes that of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// The resampling filter, as in Pillow.
    #[serde(rename = "resize", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Whether the filter is widened where a picture is made smaller. `false` is bilinear interpolation in floating
    /// point without it, as TensorFlow's `tf.image.resize` and Keras' `image_dataset_from_directory` do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub antialias: Option<bool>,
    /// The share of the side that is kept with `fit: crop`, `squash` and `border`: 0.875 resizes to 256 and cuts out
    /// 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1))]
    pub crop_pct: Option<f64>,
    /// The order of the channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelOrder>,
    /// The number by which the bytes are divided first: 255, 127.5 or 1. It must not be 0.
    #[serde(serialize_with = "decimal::maybe", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("not" = {"const": 0}))]
    pub divisor: Option<f32>,
    /// Three numbers that are subtracted next, in the order of `channels` and in units of `byte / divisor`.
    #[serde(serialize_with = "decimal::maybe_three", skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Three numbers by which the result is divided, in the order of `channels`. None of them may be 0.
    #[serde(serialize_with = "decimal::maybe_three", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("not" = {"contains": {"const": 0}}))]
    pub std: Option<[f32; 3]>,
}

fn schema_of_size(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let side = serde_json::json!({"type": "integer", "minimum": 1, "maximum": MAX_SIDE});
    let sides = serde_json::json!({"type": "array", "items": side, "minItems": 2, "maxItems": 2});
    schemars::json_schema!({"anyOf": [side, sides, {"type": "null"}]})
}

/// Reads `224` or `[224, 224]`; an error names the value.
fn side_or_sides<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[usize; 2]>, D::Error> {
    struct Sides;
    impl<'de> de::Visitor<'de> for Sides {
        type Value = Option<[usize; 2]>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a side in pixels, as 224, or [height, width]")
        }

        fn visit_u64<E: de::Error>(self, side: u64) -> Result<Self::Value, E> {
            let side = usize::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(side), &self))?;
            Ok(Some([side, side]))
        }

        fn visit_i64<E: de::Error>(self, side: i64) -> Result<Self::Value, E> {
            let unsigned = u64::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Signed(side), &self))?;
            self.visit_u64(unsigned)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut sides: A) -> Result<Self::Value, A::Error> {
            let height = sides.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
            let width = sides.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
            match sides.next_element::<de::IgnoredAny>()? {
                Some(_) => Err(de::Error::invalid_length(3, &self)),
                None => Ok(Some([height, width])),
            }
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Sides)
}

pub(super) mod decimal {
    use serde::{Serialize, Serializer};

    fn widened(value: f32) -> f64 {
        value.to_string().parse().unwrap_or(f64::from(value))
    }

    pub(crate) fn one<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        widened(*value).serialize(serializer)
    }

    pub(crate) fn three<S: Serializer>(values: &[f32; 3], serializer: S) -> Result<S::Ok, S::Error> {
        values.map(widened).serialize(serializer)
    }

    pub(crate) fn maybe<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(widened).serialize(serializer)
    }

    pub(crate) fn maybe_three<S: Serializer>(values: &Option<[f32; 3]>, serializer: S) -> Result<S::Ok, S::Error> {
        values.map(|values| values.map(widened)).serialize(serializer)
    }
}
