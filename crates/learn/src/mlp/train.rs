//! The training loop: first weights, validation split, epochs of batches, and when to stop.

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::full_batch::FullBatch;
use super::network::{Factors, Network};
use super::optimizer::Optimizer;
use super::{Activation, BatchSize, Dense, Epoch, Mlp, MlpError, MlpParams, OnEpoch, Order, Solver};
use crate::dataset::{Labelled, Labels, Predict, Selected};
use crate::lbfgs::{End, Limits};
use crate::table::{FeatureMatrix, Rows};

/// The number of values of a table that are read at a time where the order of the rows does not matter.
const BLOCK: usize = 1 << 22;
/// scipy's default of `ftol`, which scikit-learn leaves as it is.
const SCIPY_FTOL: f64 = 2.220_446_049_250_313e-9;

/// The uses of random numbers: each has a stream of its own, so that more draws for one do not shift the others.
#[derive(Clone, Copy)]
enum Stream {
    Weights = 0,
    Order = 1,
    Validation = 2,
    Dropout = 3,
}

fn random(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream as u64);
    random
}

/// Shuffles by Fisher and Yates. It is written out, so that no version of a library changes the meaning of a seed.
pub(super) struct Shuffler(ChaCha8Rng);

impl Shuffler {
    /// Makes a shuffler whose orders depend on the seed alone.
    pub(super) fn new(seed: u64) -> Self {
        Self(random(seed, Stream::Order))
    }

    /// Shuffles `items`.
    pub(super) fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            // The high bits of the product are a random index, uniform within 2⁻⁶⁴ times the length.
            let other = (u128::from(self.0.next_u64()) * (last as u128 + 1)) >> 64;
            items.swap(last, other as usize);
        }
    }
}

/// scikit-learn's first weights and biases: uniform in ±√(6 / (inputs + outputs)), with 2 for the logistic activation
/// (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010).
pub(super) fn first_layers(params: &MlpParams, features: usize, classes: usize) -> Vec<Dense> {
    let mut random = random(params.seed, Stream::Weights);
    let factor = if params.activation == Activation::Logistic { 2.0 } else { 6.0 };
    let widths = widths(params, features, classes);
    let mut layers = Vec::with_capacity(widths.len() - 1);
    for pair in widths.windows(2) {
        let (inputs, outputs) = (pair[0], pair[1]);
        let bound = (factor / (inputs + outputs) as f64).sqrt();
        let mut draw = |count: usize| -> Vec<f32> {
            let unit = |word: u64| (word >> 11) as f64 / (1_u64 << 53) as f64; // [0, 1)
            (0..count).map(|_| (bound * (2.0 * unit(random.next_u64()) - 1.0)) as f32).collect()
        };
        layers.push(Dense { inputs, outputs, weights: draw(inputs * outputs), bias: draw(outputs) });
    }
    layers
}

/// Returns the widths from the features to the output.
fn widths(params: &MlpParams, features: usize, classes: usize) -> Vec<usize> {
    [&[features], params.hidden.as_slice(), &[outputs(classes)]].concat()
}

/// Returns the number of outputs of a network for `classes` classes: two need one only.
pub(crate) fn outputs(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

/// Rows and the class of each.
#[derive(Clone, Copy)]
pub(crate) struct Samples<'a> {
    /// (n, d)
    pub x: &'a dyn Rows,
    /// (n)
    pub y: &'a [usize],
    /// The rows trained on.
    pub rows: &'a [usize],
    /// The number of classes.
    pub classes: usize,
    /// Weight of a row of each class.
    pub weights: Option<&'a [f64]>,
}

impl<'a> Samples<'a> {
    /// The samples of a dataset, with the weight of each class.
    pub(crate) fn of(dataset: &Labelled<'a>, weights: Option<&'a [f64]>) -> Self {
        let (Selected { table: x, rows }, Labels { y, classes }) = (dataset.records, dataset.targets);
        Self { x, y, rows, classes: classes.len(), weights }
    }

    /// Returns an error where no classifier can be trained on the samples.
    pub(crate) fn check(&self) -> Result<(), MlpError> {
        let Self { x, y, rows: named, classes, .. } = *self;
        let (rows, features) = (named.len(), x.cols());
        if rows == 0 || features == 0 {
            return Err(MlpError::Empty { rows, features });
        }
        if y.len() != x.rows() {
            return Err(MlpError::Labels { labels: y.len(), rows: x.rows() });
        }
        if let Some((row, &class)) = y.iter().enumerate().find(|&(_, &class)| class >= classes) {
            return Err(MlpError::Class { row, class, classes });
        }
        if named.iter().all(|&row| y[row] == y[named[0]]) {
            return Err(MlpError::OneClass { rows });
        }
        let mut values = Vec::new();
        for rows in self.blocks(named) {
            values.clear();
            x.pick(rows, &mut values)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(MlpError::NotFinite { row: rows[at / features], column: at % features });
            }
        }
        Ok(())
    }

    /// Divides `rows` into blocks of 16 MB, or of one row.
    fn blocks<'r>(&self, rows: &'r [usize]) -> impl Iterator<Item = &'r [usize]> {
        rows.chunks((BLOCK / self.x.cols().max(1)).max(1))
    }

    /// Returns the given rows as a batch (rows, d), and their classes.
    fn batch(&self, rows: &[usize]) -> Result<(Tensor, Vec<usize>), MlpError> {
        let (cols, mut values) = (self.x.cols(), Vec::new());
        self.x.pick(rows, &mut values)?;
        let batch = Tensor::from_vec(values, (rows.len(), cols), &Device::Cpu)?;
        Ok((batch, rows.iter().map(|&row| self.y[row]).collect()))
    }
}

/// The held-out rows, and the weights with the best accuracy on them.
struct Validation<'a> {
    data: Samples<'a>,
    held: Vec<usize>,
    best_score: f64,
    best: Vec<Dense>,
}

/// Trains `start` on the data until it stops improving, `max_iter` is reached or `on_epoch` breaks.
pub(super) fn train(
    params: &MlpParams,
    data: Samples,
    start: Vec<Dense>,
    order: Order,
    on_epoch: OnEpoch,
) -> Result<Mlp, MlpError> {
    params.check()?;
    data.check()?;
    let mut model = Mlp {
        layers: start,
        activation: params.activation,
        classes: data.classes,
        loss_curve: Vec::new(),
        validation_scores: Vec::new(),
        n_iter: 0,
        end: End::MaxIter,
    };
    check_start(params, &model, data)?;
    if params.solver == Solver::Lbfgs {
        return lbfgs(params, data, &model.layers, on_epoch);
    }
    let held = held_out(params, data.y, data.rows, data.classes)?;
    let samples: Vec<usize> = data.rows.iter().copied().filter(|row| held.binary_search(row).is_err()).collect();
    let mut validation = (!held.is_empty()).then(|| Validation::new(data, held, &model.layers));
    let network = Network::new(&model.layers, params, data.weights)?;
    let mut dropout = Dropout::new(params);
    let mut optimizer = Optimizer::new(params, network.parameters());
    let mut patience = Patience { params, best_loss: f64::INFINITY, not_better: 0 };
    let mut places: Vec<usize> = (0..samples.len()).collect();

    while model.n_iter < params.max_iter && !model.converged() {
        order(model.n_iter, &mut places);
        let rows: Vec<usize> = places.iter().map(|&place| samples[place]).collect();
        let loss = epoch(&network, &mut optimizer, dropout.as_mut(), data, &rows, params.batch_size)?;
        model.n_iter += 1;
        model.loss_curve.push(loss);
        if !loss.is_finite() {
            return Err(MlpError::Diverged { epoch: model.n_iter });
        }
        let score = validation.as_mut().map(|held| held.score(&mut model, &network, params)).transpose()?;
        optimizer.epoch_ends(model.n_iter * samples.len());
        if patience.is_over(loss, score.map(|(_, better)| better), &mut optimizer) {
            model.end = End::Converged;
        }
        let validation_score = score.map(|(score, _)| score);
        let told = Epoch { number: model.n_iter, max_iter: params.max_iter, loss, validation_score };
        if on_epoch(&told).is_break() {
            return Err(MlpError::Interrupted);
        }
    }
    model.layers = validation.map_or_else(|| network.to_layers(), |held| Ok(held.best))?;
    if model.layers.iter().any(|layer| layer.weights.iter().chain(&layer.bias).any(|value| !value.is_finite())) {
        return Err(MlpError::Diverged { epoch: model.n_iter });
    }
    Ok(model)
}

/// scikit-learn's `solver="lbfgs"`: iterations are counted as epochs; batches, orders and early stopping do not apply.
fn lbfgs(params: &MlpParams, data: Samples, start: &[Dense], on_epoch: OnEpoch) -> Result<Mlp, MlpError> {
    let Samples { x, y, rows, classes, weights } = data;
    let MlpParams { activation, alpha, label_smoothing, max_iter, max_fun, tol: gtol, .. } = *params;
    let widths = widths(params, x.cols(), classes);
    let batch = FullBatch { x, y, rows, classes, weights, label_smoothing, activation, widths, alpha, intercept: true };
    let limits = Limits { max_iter, max_fun, max_line_search: 20, gtol, ftol: SCIPY_FTOL };
    batch.train(FullBatch::pack(start), limits, on_epoch)
}

/// Draws the neurons that are left out.
pub(super) struct Dropout {
    random: ChaCha8Rng,
    rate: f64,
}

impl Dropout {
    pub(super) fn new(params: &MlpParams) -> Option<Self> {
        let random = || random(params.seed, Stream::Dropout);
        (params.dropout > 0.0).then(|| Self { random: random(), rate: params.dropout })
    }

    /// Draws the factors of `count` neurons: 0 with the probability `rate`, else 1 / (1 − rate), which keeps the mean.
    pub(super) fn factors(&mut self, count: usize) -> Vec<f32> {
        let (limit, kept) = ((self.rate * f64::from(u32::MAX)) as u32, (1.0 / (1.0 - self.rate)) as f32);
        (0..count).map(|_| if self.random.next_u32() < limit { 0.0 } else { kept }).collect()
    }
}

/// Counts the epochs in a row that brought no improvement.
struct Patience<'a> {
    params: &'a MlpParams,
    best_loss: f64,
    not_better: usize,
}

impl Patience<'_> {
    /// Whether training is over after an epoch of this loss; `better` says whether the validation score has risen,
    /// where there is one.
    fn is_over(&mut self, loss: f64, better: Option<bool>, optimizer: &mut Optimizer) -> bool {
        let better = better.unwrap_or(loss <= self.best_loss - self.params.tol);
        self.best_loss = self.best_loss.min(loss);
        self.not_better = if better { 0 } else { self.not_better + 1 };
        if self.not_better <= self.params.n_iter_no_change {
            return false;
        }
        self.not_better = 0;
        optimizer.gives_up()
    }
}

/// Makes one pass over `rows` and returns the mean loss of a row.
fn epoch(
    network: &Network,
    optimizer: &mut Optimizer,
    mut dropout: Option<&mut Dropout>,
    data: Samples,
    rows: &[usize],
    batch_size: BatchSize,
) -> Result<f64, MlpError> {
    let mut sum = 0.0;
    for batch in rows.chunks(batch_size.of(rows.len())) {
        let (x, y) = data.batch(batch)?;
        let mut factors = dropout.as_mut().map(|dropout| |count| dropout.factors(count));
        let factors = factors.as_mut().map(|factors| factors as Factors);
        optimizer.batch_begins();
        let loss = network.backward(x, &y, factors, &mut |layer, slope| optimizer.step(layer, slope))?;
        sum += loss * batch.len() as f64;
    }
    Ok(sum / rows.len() as f64)
}

fn check_start(params: &MlpParams, start: &Mlp, data: Samples) -> Result<(), MlpError> {
    start.check()?;
    let found: Vec<usize> = start
        .layers
        .first()
        .map(|layer| layer.inputs)
        .into_iter()
        .chain(start.layers.iter().map(|l| l.outputs))
        .collect();
    let expected = widths(params, data.x.cols(), data.classes);
    if found != expected {
        return Err(MlpError::Layers { what: format!("layers of {found:?} to start from, {expected:?} expected") });
    }
    Ok(())
}

/// Returns the validation rows, ascending, with the same share of every class; no rows without early stopping.
pub fn held_out(params: &MlpParams, y: &[usize], rows: &[usize], classes: usize) -> Result<Vec<usize>, MlpError> {
    if !params.early_stopping {
        return Ok(Vec::new());
    }
    let fail = |need: String| MlpError::Validation { need, rows: rows.len() };
    let mut by_class = vec![Vec::new(); classes];
    rows.iter().for_each(|&row| by_class[y[row]].push(row));
    if let Some(class) = by_class.iter().position(|members| members.len() == 1) {
        return Err(MlpError::OneOfClass { class });
    }
    let present = by_class.iter().filter(|members| !members.is_empty()).count();
    let wanted = (params.validation_fraction * rows.len() as f64).ceil() as usize;
    let least = present.max(2);
    if wanted < least {
        return Err(fail(format!("a validation split of {least} or more, validation_fraction makes it {wanted}")));
    }
    if rows.len() - wanted < present {
        let left = rows.len() - wanted;
        return Err(fail(format!("{present} or more pictures left to train on, validation_fraction leaves {left}")));
    }
    let mut held = Vec::with_capacity(wanted);
    let mut shuffler = Shuffler(random(params.seed, Stream::Validation));
    let sizes: Vec<usize> = by_class.iter().map(Vec::len).collect();
    for (members, share) in by_class.iter_mut().zip(shares(&sizes, wanted)) {
        shuffler.shuffle(members);
        held.extend_from_slice(&members[..share]);
    }
    held.sort_unstable();
    Ok(held)
}

/// Divides `wanted` among classes in proportion to their sizes: the whole parts, then the largest remainders.
fn shares(sizes: &[usize], wanted: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let mut shares: Vec<usize> = sizes.iter().map(|size| size * wanted / total).collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(sizes[class] * wanted % total));
    let missing = wanted - shares.iter().sum::<usize>();
    by_remainder.into_iter().take(missing).for_each(|class| shares[class] += 1);
    shares
}

impl<'a> Validation<'a> {
    fn new(data: Samples<'a>, held: Vec<usize>, start: &[Dense]) -> Self {
        Self { data, held, best_score: f64::NEG_INFINITY, best: start.to_vec() }
    }

    /// Returns the accuracy on the held-out rows, and whether it is better by `tol`; keeps the weights if it is the
    /// best so far.
    fn score(&mut self, model: &mut Mlp, network: &Network, params: &MlpParams) -> Result<(f64, bool), MlpError> {
        model.layers = network.to_layers()?;
        let Samples { x, y, weights, .. } = self.data;
        let weight = |class: usize| weights.map_or(1.0, |weights| weights[class]);
        let (mut right, mut all) = (0.0, 0.0);
        for rows in self.data.blocks(&self.held) {
            let mut values = Vec::new();
            x.pick(rows, &mut values)?;
            let table = FeatureMatrix::from_vec(rows.len(), x.cols(), values);
            let table = table.map_err(|error| MlpError::Layers { what: error.to_string() })?;
            for (predicted, &row) in model.predict(&table)?.into_iter().zip(rows) {
                all += weight(y[row]);
                right += if predicted == y[row] { weight(y[row]) } else { 0.0 };
            }
        }
        let score = right / all;
        let better = score >= self.best_score + params.tol;
        if score > self.best_score {
            self.best_score = score;
            self.best.clone_from(&model.layers);
        }
        model.validation_scores.push(score);
        Ok((score, better))
    }
}
