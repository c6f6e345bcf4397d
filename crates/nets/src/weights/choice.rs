//! The weights that a user asks for, as the YAML and the command line write them.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use super::store::is_name;
use crate::models::Source;

/// The value of `extract.weights`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// The model's default.
    #[default]
    Default,
    /// The weights inside the binary.
    Bundled,
    /// Random weights, drawn from `extract.seed`.
    Random,
    /// The default weights of a library.
    Published(Source),
    /// The weights of a library with this name: `timm:a2_in1k`.
    Named(String),
    /// `hf:owner/repo/file` or a URL.
    Remote(String),
    /// Weights that the user registered under this name.
    Own(String),
    /// The path of a file.
    Path(PathBuf),
}

/// The forms of `extract.weights`.
const WEIGHTS: &str = "`bundled`, `keras`, `torchvision`, `timm`, `openai`, `facebook`, `timm:a1_in1k` and the like, \
                       `random`, a file, `hf:owner/repo/file`, a URL, or a name of your own";

impl std::str::FromStr for Weights {
    type Err = &'static str;

    /// The error names the expected forms.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => Err(WEIGHTS),
            "default" => Ok(Self::Default),
            "bundled" => Ok(Self::Bundled),
            "random" => Ok(Self::Random),
            hub if hub.starts_with("hf:") && hub.split('/').filter(|part| !part.is_empty()).count() < 3 => {
                Err("`hf:owner/repo/file`")
            }
            far if far.contains("://") && !far.starts_with("https://") && !far.starts_with("http://") => {
                Err("a URL of http or https")
            }
            far if far.starts_with("hf:") || far.contains("://") => Ok(Self::Remote(text.to_string())),
            word => {
                let (library, name) =
                    word.split_once(':').map_or((word, None), |(library, name)| (library, Some(name)));
                match (Source::ALL.into_iter().find(|source| source.word() == library), name) {
                    (Some(source), None) => Ok(Self::Published(source)),
                    (Some(_), Some(_)) => Ok(Self::Named(text.to_string())),
                    (None, _) if is_name(text) => Ok(Self::Own(text.to_string())),
                    (None, _) => Ok(Self::Path(PathBuf::from(text))),
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|expected| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

impl JsonSchema for Weights {
    fn schema_name() -> Cow<'static, str> {
        "Weights".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"enum": ["default", "bundled", "random", "keras", "torchvision", "timm", "openai", "facebook"]},
            {"title": "`timm:a1_in1k` and the like", "type": "string", "pattern": "^(torchvision|timm|openai|facebook):"},
            {"title": "a file or a name of your own", "type": ["string", "number", "boolean"], "minLength": 1},
            {"title": "`hf:owner/repo/file`", "type": "string", "pattern": "^hf:"},
            {"title": "a URL", "type": "string", "pattern": "^https?://"}
        ]})
    }
}
