//! The flags that decide whether a picture counts as one of the known classes, shared by every command that predicts
//! with a run.

use clap::Args;

use crate::error::Error;
use crate::pictures::Predictor;
use crate::pictures::predictor::Acceptance;

/// When a picture is unknown.
#[derive(Clone, Copy, Debug, Args)]
pub struct AcceptanceArgs {
    /// The share of new pictures of known classes that may be called unknown (false alarms), above 0 and below 1.
    /// Default: pictures are unknown beyond the 0.99 quantile of the distances of the train pictures.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    reject_rate: Option<f64>,
    /// Also call a picture unknown whose most probable class has less than this probability, above 0, at most 1.
    #[arg(long, value_name = "P", value_parser = probability)]
    min_confidence: Option<f32>,
}

impl AcceptanceArgs {
    /// The rule for the pictures of `predictor`; an error where the rule could not refuse any picture.
    pub fn rule(&self, predictor: &Predictor) -> Result<Acceptance, Error> {
        let rule = predictor.acceptance(self.reject_rate, self.min_confidence);
        rule.map_err(|error| Error::Usage(error.to_string()))
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|rate| *rate > 0.0 && *rate < 1.0).ok_or("expected a number above 0 and below 1")
}

fn probability(text: &str) -> Result<f32, &'static str> {
    let usable = |p: &f32| *p > 0.0 && *p <= 1.0;
    text.parse().ok().filter(usable).ok_or("expected a probability above 0, at most 1: no prediction reaches another")
}
