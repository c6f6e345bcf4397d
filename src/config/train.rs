//! `train`: the classifiers, and how they are compared. Their hyperparameters are structs of `featurize-learn`, whose
//! doc comments are the reference.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ranges, values};
use crate::learn::hyperparameters::{ClassWeight, ParamError};
use crate::learn::knn::KnnParams;
use crate::learn::logistic::LogisticParams;
use crate::learn::mlp::MlpParams;

/// `train`: a classifier on the columns that are left, or several, of which the best by cross-validation is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Compares logistic regression (`c` from 0.0001 to 10,000), the nearest neighbours and two perceptrons by their
    /// log loss in the folds, and keeps the simplest within one standard error of the best: logistic regression before
    /// neighbours before perceptrons, the smallest `c` first. Candidates for which there are too few pictures or too
    /// little memory, and those whose training diverges, are left out, and the leaderboard names the reason. There are
    /// at most as many folds as the largest class has pictures, unless `cv` is given. `train: auto` is its short form.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
    /// The classifiers that `auto` compares, the simplest first.
    #[serde(skip)]
    pub grid: Vec<Candidate>,
    /// A multi-layer perceptron; `{}` takes the defaults.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub mlp: Option<MlpParams>,
    /// Multinomial logistic regression; `{}` takes the defaults.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub logistic: Option<LogisticParams>,
    /// The classes of the nearest train pictures; `{}` takes the defaults. Its scores on the train split leave each
    /// picture itself out.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub knn: Option<KnnParams>,
    /// More classifiers to compare, one in each entry: `[{mlp: {hidden: 50}}, {knn: {k: 3}}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Folds of a stratified cross-validation; `select`, `reduce` and the classifiers are fitted anew without each.
    /// Default: 5 to compare several classifiers (`auto`: fewer where no class has so many pictures), none for one.
    #[schemars(range(min = 2, max = ranges::FOLDS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cv: Option<usize>,
    /// A regular expression over the path. Pictures with the same first group, or the same match where there is no
    /// group, are kept in one fold. Default: each picture on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// How probabilities are calibrated. It does not change which class is the most probable. Default: `temperature`
    /// where each class has as many train pictures as there are folds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<Calibrate>,
}

/// `train.auto`: the classifier is chosen by the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auto {
    /// The most classifiers that are fitted in the folds, one for each of the twelve candidates and each fold. With
    /// fewer fits the grid is coarser.
    #[schemars(range(min = 2, max = ranges::MANY))]
    pub fits: usize,
}

impl Default for Auto {
    fn default() -> Self {
        Self { fits: 60 }
    }
}

impl Auto {
    /// Exponents of C, which is a power of ten.
    const POWERS: std::ops::RangeInclusive<i32> = -4..=4;
    /// The order in which candidates are tried when there are too few fits for all of them: indices into the grid, in
    /// order of preference.
    const ORDER: [usize; 12] = [4, 9, 10, 2, 6, 3, 5, 11, 1, 7, 0, 8];

    /// The candidates that fit into the number of `fits`, the simplest first.
    pub(super) fn grid(&self, folds: usize) -> Vec<Candidate> {
        let logistic = |power: i32| LogisticParams { c: 10f64.powi(power), max_iter: 1000, ..Default::default() };
        let logistic = Self::POWERS.map(|power| Candidate { logistic: Some(logistic(power)), ..Default::default() });
        let knn = Candidate { knn: Some(KnnParams::default()), ..Default::default() };
        let mlp = [1.0, 1e-4].map(|alpha| MlpParams { alpha, ..Default::default() });
        let mlp = mlp.into_iter().map(|mlp| Candidate { mlp: Some(mlp), ..Default::default() });
        let taken = &Self::ORDER[..(self.fits / folds.max(1)).min(Self::ORDER.len())];
        let all = logistic.chain([knn]).chain(mlp).enumerate();
        all.filter(|(i, _)| taken.contains(i)).map(|(_, one)| one).collect()
    }
}

/// The calibration of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Calibrate {
    /// Temperature scaling: the logits are divided by one number, fitted on predictions for held-out train pictures.
    Temperature,
    /// Probabilities are as the classifier gives them.
    None,
}

/// One of the classifiers that are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Candidate {
    /// A multi-layer perceptron.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub mlp: Option<MlpParams>,
    /// Multinomial logistic regression.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub logistic: Option<LogisticParams>,
    /// The classes of the nearest train pictures.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub knn: Option<KnnParams>,
}

/// The hyperparameters of one classifier.
#[derive(Clone, Copy, Debug)]
pub enum Classifier<'a> {
    Mlp(&'a MlpParams),
    Logistic(&'a LogisticParams),
    Knn(&'a KnnParams),
}

/// The settings that are left after a check of the classifiers.
#[derive(Debug)]
pub struct Passing<'a, E> {
    pub settings: Cow<'a, Train>,
    /// The candidates of `auto` that were left out, in words, each with its error.
    pub refused: Vec<(String, E)>,
}

impl Train {
    /// All classifiers in the YAML, in the order of the reference.
    pub fn classifiers(&self) -> Vec<Classifier<'_>> {
        let own = each(&self.mlp, &self.logistic, &self.knn);
        own.into_iter().chain(self.candidates.iter().chain(&self.grid).flat_map(Candidate::classifiers)).collect()
    }

    /// All classifiers, each with its key in the YAML: `train.mlp`, `train.candidates[0].knn`.
    pub fn keyed(&self) -> Vec<(String, Classifier<'_>)> {
        let own =
            each(&self.mlp, &self.logistic, &self.knn).into_iter().map(|one| (format!("train.{}", one.name()), one));
        let listed = self.candidates.iter().enumerate().flat_map(|(i, candidate)| {
            candidate.classifiers().into_iter().map(move |one| (format!("train.candidates[{i}].{}", one.name()), one))
        });
        // the key under which the user would write this classifier
        let chosen = self.grid.iter().flat_map(Candidate::classifiers);
        own.chain(listed).chain(chosen.map(|one| (format!("train.{}", one.name()), one))).collect()
    }

    /// The settings with those candidates of `auto` that pass `check`, and the others with their errors; the first
    /// error if no candidate passes. A classifier that is named in the YAML must pass.
    pub fn passing<E>(&self, mut check: impl FnMut(&str, Classifier) -> Result<(), E>) -> Result<Passing<'_, E>, E> {
        if self.auto.is_none() {
            self.keyed().into_iter().try_for_each(|(key, one)| check(&key, one))?;
            return Ok(Passing { settings: Cow::Borrowed(self), refused: Vec::new() });
        }
        let (mut passed, mut refused) = (Vec::new(), Vec::new());
        for (candidate, (key, one)) in self.grid.iter().zip(self.keyed()) {
            match check(&key, one) {
                Ok(()) => passed.push(candidate.clone()),
                Err(error) => refused.push((one.describe(), error)),
            }
        }
        if passed.is_empty() && !refused.is_empty() {
            return Err(refused.swap_remove(0).1);
        }
        Ok(Passing { settings: Cow::Owned(Self { grid: passed, ..self.clone() }), refused })
    }

    /// Mutable access to every perceptron, with its key in the YAML.
    pub(super) fn perceptrons(&mut self) -> impl Iterator<Item = (String, &mut MlpParams)> {
        let listed = self.candidates.iter_mut().enumerate();
        let listed = listed.filter_map(|(i, one)| Some((format!("train.candidates[{i}].mlp"), one.mlp.as_mut()?)));
        self.mlp.as_mut().map(|mlp| ("train.mlp".to_string(), mlp)).into_iter().chain(listed)
    }

    /// The number of folds of the cross-validation, if there is one.
    pub fn folds(&self) -> Option<usize> {
        self.cv.or_else(|| (self.auto.is_some() || self.classifiers().len() > 1).then_some(5))
    }
}

impl Candidate {
    /// The classifiers of this entry; exactly one once the entry is checked.
    pub fn classifiers(&self) -> Vec<Classifier<'_>> {
        each(&self.mlp, &self.logistic, &self.knn)
    }
}

fn each<'a>(
    mlp: &'a Option<MlpParams>,
    logistic: &'a Option<LogisticParams>,
    knn: &'a Option<KnnParams>,
) -> Vec<Classifier<'a>> {
    let all = [
        mlp.as_ref().map(Classifier::Mlp),
        logistic.as_ref().map(Classifier::Logistic),
        knn.as_ref().map(Classifier::Knn),
    ];
    all.into_iter().flatten().collect()
}

impl<'a> Classifier<'a> {
    /// Its key in the YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::Logistic(_) => "logistic",
            Self::Knn(_) => "knn",
        }
    }

    /// The maximum number of epochs or iterations, if the classifier has one.
    pub fn max_iter(self) -> Option<usize> {
        match self {
            Self::Mlp(mlp) => Some(mlp.max_iter),
            Self::Logistic(logistic) => Some(logistic.max_iter),
            Self::Knn(_) => None,
        }
    }

    /// The weights of the classes, if set.
    pub fn class_weight(self) -> Option<&'a ClassWeight> {
        match self {
            Self::Mlp(mlp) => mlp.class_weight.as_ref(),
            Self::Logistic(logistic) => logistic.class_weight.as_ref(),
            Self::Knn(_) => None,
        }
    }

    /// Returns an error about an invalid hyperparameter.
    pub fn check(self) -> Result<(), ParamError> {
        match self {
            Self::Mlp(mlp) => mlp.check(),
            Self::Logistic(logistic) => logistic.check(),
            Self::Knn(knn) => knn.check(),
        }
    }

    /// Hyperparameters that have a second name in the YAML, with that name.
    pub fn aliases(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Mlp(_) => MlpParams::ALIASES,
            Self::Logistic(_) => LogisticParams::ALIASES,
            Self::Knn(_) => KnnParams::ALIASES,
        }
    }

    /// Whether a train table of `rows` × `cols` is held in memory.
    pub fn holds(self, rows: usize, cols: usize) -> bool {
        let bytes = rows.saturating_mul(cols).saturating_mul(size_of::<f32>());
        match self {
            Self::Mlp(MlpParams { in_memory, .. }) | Self::Logistic(LogisticParams { in_memory, .. }) => {
                in_memory.of(bytes)
            }
            Self::Knn(_) => true,
        }
    }

    /// A short description that distinguishes it from others: its kind, its size, and every setting that is not the
    /// default.
    pub fn describe(self) -> String {
        let (own, default, told) = match self {
            Self::Mlp(mlp) => (json!(mlp), json!(MlpParams::default()), &["hidden", "solver"][..]),
            Self::Logistic(logistic) => (json!(logistic), json!(LogisticParams::default()), &["c"][..]),
            Self::Knn(knn) => (json!(knn), json!(KnnParams::default()), &["k"][..]),
        };
        let keys = own
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| told.contains(&key.as_str()) || default[key] != **value)
            .filter(|(key, _)| *key != "in_memory"); // the classifier does not depend on where its table is held
        let setting = |(key, value): (&String, &Value)| match value {
            Value::String(word) => format!("{key} {word}"),
            value => format!("{key} {value}"),
        };
        format!("{} ({})", self.name(), keys.map(setting).collect::<Vec<_>>().join(", "))
    }
}
