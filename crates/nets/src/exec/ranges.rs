//! The ranges of a network's values, which calibration collects and from which the scales of int8 are chosen.

use std::collections::{BTreeMap, HashMap};

use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView};

/// The key of the only entry of the metadata; its value is the settings of the run that made them.
const FORMAT: &str = "featurize ranges 1, made for";

/// The ranges of the channels of each layer over the pictures of a calibration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    /// The settings of the run that made them; empty where they are not checked.
    made_for: String,
    layers: BTreeMap<String, ChannelRanges>,
}

/// For each channel of a layer its smallest and its largest value, the mean of its values, and of their squares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelRanges {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub mean: Vec<f32>,
    pub square: Vec<f32>,
}

impl ChannelRanges {
    fn rows(&self) -> [&Vec<f32>; 4] {
        [&self.low, &self.high, &self.mean, &self.square]
    }
}

impl Ranges {
    /// The ranges of a layer.
    pub fn layer(&self, name: &str) -> Option<&ChannelRanges> {
        self.layers.get(name)
    }

    /// The same ranges with the settings of the run that made them.
    #[must_use]
    pub fn made(self, made_for: String) -> Self {
        Self { made_for, ..self }
    }

    /// The settings of the run that made them.
    pub fn made_for(&self) -> &str {
        &self.made_for
    }

    /// The bytes of a file of ranges: a safetensors file with four rows of numbers a layer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let data: Vec<(&String, usize, Vec<u8>)> = self
            .layers
            .iter()
            .map(|(name, ranges)| {
                let values = ranges.rows().into_iter().flatten().flat_map(|value| value.to_le_bytes());
                (name, ranges.mean.len(), values.collect())
            })
            .collect();
        let views = data.iter().filter_map(|(name, channels, bytes)| {
            Some((name.as_str(), TensorView::new(Dtype::F32, vec![4, *channels], bytes).ok()?))
        });
        // one entry, since the library writes several in no fixed order
        let metadata = HashMap::from([(FORMAT.to_string(), self.made_for.clone())]);
        // this cannot fail: names are unique, and shapes fit their bytes
        safetensors::serialize(views, Some(metadata)).unwrap_or_default()
    }

    /// The ranges in the bytes of a file.
    ///
    /// A sentence that says what is wrong with the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let made_for = header.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT)).cloned();
        let made_for = made_for.ok_or_else(|| "its metadata does not say that this version knows it".to_string())?;
        let mut layers = BTreeMap::new();
        for (name, tensor) in file.iter() {
            let &[4, channels] = tensor.shape() else { return Err(format!("layer `{name}` has not four rows")) };
            if tensor.dtype() != Dtype::F32 {
                return Err(format!("the numbers of layer `{name}` are not f32"));
            }
            let values: Vec<f32> = tensor.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(format!("layer `{name}` has a number that is not finite"));
            }
            let row = |i: usize| values[i * channels..(i + 1) * channels].to_vec();
            let ranges = ChannelRanges { low: row(0), high: row(1), mean: row(2), square: row(3) };
            layers.insert(name.to_string(), ranges);
        }
        Ok(Self { made_for, layers })
    }
}

/// The statistics of each layer's values for one picture.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub(super) layers: Vec<(String, Seen)>,
}

/// For each channel of a layer its smallest and its largest value, the mean of its values, and of their squares.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    low: Vec<f32>,
    high: Vec<f32>,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Seen {
    fn nothing(channels: usize) -> Self {
        let (low, high) = (vec![f32::INFINITY; channels], vec![f32::NEG_INFINITY; channels]);
        Self { low, high, mean: vec![0.0; channels], square: vec![0.0; channels] }
    }

    /// The statistics of the `positions` of a map of `channels`.
    pub(super) fn of<'a>(channels: usize, positions: impl Iterator<Item = &'a [f32]>) -> Self {
        let mut seen = Self::nothing(channels);
        let mut count = 0;
        for position in positions.flat_map(|run| run.chunks_exact(channels)) {
            count += 1;
            for (c, &value) in position.iter().enumerate() {
                seen.low[c] = seen.low[c].min(value);
                seen.high[c] = seen.high[c].max(value);
                seen.mean[c] += f64::from(value);
                seen.square[c] += f64::from(value) * f64::from(value);
            }
        }
        seen.divide(count);
        seen
    }

    fn divide(&mut self, count: usize) {
        let count = count.max(1) as f64;
        [&mut self.mean, &mut self.square].into_iter().flatten().for_each(|sum| *sum /= count);
    }

    fn add(&mut self, other: &Self) {
        self.low.iter_mut().zip(&other.low).for_each(|(low, other)| *low = low.min(*other));
        self.high.iter_mut().zip(&other.high).for_each(|(high, other)| *high = high.max(*other));
        self.mean.iter_mut().zip(&other.mean).for_each(|(sum, other)| *sum += other);
        self.square.iter_mut().zip(&other.square).for_each(|(sum, other)| *sum += other);
    }
}

/// Ranges that grow with each picture; the means depend on the order of the pictures in their last digits.
#[derive(Debug, Default)]
pub struct Calibration {
    pictures: usize,
    layers: BTreeMap<String, Seen>,
}

impl Calibration {
    /// Adds the statistics of a picture.
    pub fn add(&mut self, observed: Observed) {
        self.pictures += 1;
        for (name, seen) in observed.layers {
            self.layers.entry(name).or_insert_with(|| Seen::nothing(seen.mean.len())).add(&seen);
        }
    }

    /// Pictures that were added.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// The ranges over all pictures.
    pub fn finish(self) -> Ranges {
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let layers = self.layers.into_iter().map(|(name, mut seen)| {
            seen.divide(self.pictures);
            let Seen { low, high, mean, square } = seen;
            (name, ChannelRanges { low, high, mean: narrow(mean), square: narrow(square) })
        });
        Ranges { made_for: String::new(), layers: layers.collect() }
    }
}
