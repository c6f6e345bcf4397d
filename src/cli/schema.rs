//! `featurize schema`: the JSON Schema of the YAML.

use super::print;
use crate::config;
use crate::error::Error;

/// Prints the schema.
pub fn run() -> Result<(), Error> {
    print(&serde_json::to_string_pretty(&config::schema())?)
}
