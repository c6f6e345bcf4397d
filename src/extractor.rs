//! A picture in, features out: decoded, prepared by the recipe, sent through the network, pooled. The only way that a picture goes, in
//! `extract` as in `predict` and `classify`.

pub(crate) mod contents;
mod fitting;

use std::fmt;
use std::ops::{ControlFlow, Deref};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::backbone::{Backbone, Tap};
use crate::config::Features;
use crate::exec::{self, Device, ExecError, Network, Session};
use crate::image::{self, DecodeOptions, Decoded, Recipe, RgbImage};
use crate::memory;
use crate::pictures::source::archive::Location;
use crate::stages::scan::NamedFile;
use crate::threads;
use crate::weights::Taken;
use contents::{Contents, Room};
pub use fitting::Needs;

/// Pictures that a thread may be ahead of the one that is handed over.
const AHEAD: usize = 16;

/// Most threads that share the layers of one picture. Two were measured; a layer of a millisecond is little to share among many.
const SHARING: usize = 8;

/// Bytes of prepared pictures that a thread holds, where they are small enough to be more than one.
const INPUTS: usize = 64 << 20;

/// The kind of a file that cannot be opened.
pub const UNREADABLE: &str = "unreadable";

/// The layers of a network as a function of pictures; shared by all threads.
#[derive(Debug)]
pub struct Extractor {
    decoding: DecodeOptions,
    recipe: Recipe,
    network: Network,
    features: Features,
    taps: Vec<Tap>,
    width: usize,
    /// Bytes of the weights.
    weights: u64,
    room: Room,
    taken: Taken,
}

/// A picture and its share of the memory for pictures.
#[derive(Debug)]
pub struct Shown {
    image: RgbImage,
    _contents: Contents,
}

impl Deref for Shown {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.image
    }
}

/// Why a picture has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that `manifest.parquet` has for it: `truncated`, `not_an_image`, `unreadable`, …
    pub kind: &'static str,
    pub reason: String,
}

impl Failure {
    /// A file that cannot be opened or read.
    pub fn unreadable(reason: impl fmt::Display) -> Self {
        Self { kind: UNREADABLE, reason: reason.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl Extractor {
    /// Reads the weights of `backbone` and puts them on `device`.
    pub fn open(backbone: &Backbone, device: &Device) -> Result<Self, ExecError> {
        fitting::check_weights(backbone)?;
        let layers = backbone.layer_ids();
        let weights = backbone.weights.load(&backbone.graph, backbone.source, &layers)?;
        let program = exec::lower::lower(&backbone.graph, &weights, &layers)?;
        drop(weights);
        Ok(Self {
            decoding: backbone.decoding.clone(),
            recipe: backbone.recipe.clone(),
            network: Network::with(program, device, backbone.precision)?,
            features: backbone.features,
            taps: backbone.taps.clone(),
            width: backbone.width(),
            weights: backbone.weights_bytes(),
            room: Room::new(memory::for_decoding()),
            taken: backbone.taken.clone(),
        })
    }

    /// The same, with so many bytes for all pictures that threads decode at a time, instead of a quarter of the memory. A picture that takes more
    /// is decoded alone.
    #[must_use]
    pub fn with_decode_memory(self, bytes: u64) -> Self {
        Self { room: Room::new(bytes), ..self }
    }

    /// Where in their file its weights lay.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of values that the network takes for one picture.
    pub fn input_len(&self) -> usize {
        self.recipe.input_len()
    }

    /// Pictures that a thread had better take through the network together.
    pub fn micro_batch(&self) -> usize {
        let each = self.input_len() * size_of::<f32>();
        self.network.micro_batch().min(INPUTS / each.max(1)).max(1)
    }

    /// Buffers for one thread.
    pub fn session(&self) -> Session {
        self.network.session()
    }

    /// Buffers for so many threads that compute the layers of a picture together; the features are the same. At most eight do.
    pub fn shared_session(&self, threads: usize) -> Session {
        self.network.shared_session(threads.clamp(1, SHARING))
    }

    /// The picture in `bytes`, whatever its format.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, Failure> {
        image::decode_for(&self.recipe, bytes, &self.decoding)
            .map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })
    }

    /// The contents of a file that was `seen` to have so many bytes, once there is room to decode them; `stop` ends the waiting. A thread drops
    /// one file's before it asks for another's.
    pub fn read(&self, location: &Location, seen: Option<u64>, stop: &AtomicBool) -> Result<Contents, Failure> {
        self.room.read(location, seen, (&self.recipe, &self.decoding), stop)
    }

    /// The whole picture in a file, right way up, as the network's recipe would find it: for people to look at.
    pub fn picture(&self, path: &Path) -> Result<Shown, Failure> {
        let whole = DecodeOptions { fast_decode: false, ..self.decoding.clone() };
        let location = Location::File(path.to_path_buf());
        let contents = self.room.read(&location, None, (&self.recipe, &whole), &AtomicBool::new(false))?;
        let image = image::decode(&contents, &whole)
            .map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })?;
        Ok(Shown { image, _contents: contents })
    }

    /// Writes the network's input for a picture: [`input_len`](Self::input_len) values.
    pub fn prepare(&self, image: &RgbImage, input: &mut [f32]) {
        self.recipe.apply(image, self.network.layout(), input);
    }

    /// Features of `n` prepared pictures, each of [`width`](Self::width) values: layer after layer, maps as (h, w, c). On the CPU a picture's
    /// bits do not depend on its neighbours. All are finite: [`ExecError::NotFinite`] tells the first picture that has others.
    pub fn forward(&self, session: &mut Session, input: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let taps = self.network.forward(session, input, n)?;
        let mut all = vec![vec![0.0; self.width]; n];
        let mut at = 0;
        for (tap, values) in self.taps.iter().zip(&taps) {
            let end = at + tap.shape.len();
            for (picture, (row, values)) in all.iter_mut().zip(values.chunks_exact(tap.map.len().max(1))).enumerate() {
                // of the map, not of what is kept of it: a largest value hides what is no number
                if let Some((at, value)) = exec::not_finite(values) {
                    return Err(ExecError::NotFinite { picture, layer: tap.name.clone(), at, value });
                }
                exec::pool(self.features, tap.map, values, &mut row[at..end]);
            }
            at = end;
        }
        Ok(all)
    }

    /// Sends every picture through the network, `finish` makes of its features what is wanted (on the thread that computed them), and `take` gets the results in the order of
    /// `pictures` until it breaks. Every thread takes a micro-batch at a time, which changes no bit on the CPU; memory does not grow with the
    /// number of pictures.
    pub fn extract_all<'a, T: Send>(
        &self,
        pictures: &'a [NamedFile],
        threads: usize,
        finish: impl Fn(&'a NamedFile, Vec<f32>) -> Result<T, Failure> + Sync,
        mut take: impl FnMut(&'a NamedFile, Result<T, Failure>) -> ControlFlow<()>,
    ) -> Result<(), ExecError> {
        // thread `lane` takes every `threads`th batch, so results come in order by asking the threads in turn
        // threads beyond one a picture share its layers
        let threads = self.fitting(threads)?;
        let sharing = threads / pictures.len().max(1);
        let threads = threads.clamp(1, pictures.len().max(1));
        // few pictures had better keep all threads busy
        let size = self.micro_batch().min(pictures.len().div_ceil(threads)).max(1);
        let (finish, stop, started) = (&finish, &AtomicBool::new(false), &OnceLock::new());
        std::thread::scope(|scope| {
            let mut lanes: Vec<Receiver<_>> = Vec::new();
            let workers = threads::start(scope, threads, |lane| {
                let (sender, receiver) = sync_channel(AHEAD.div_ceil(size));
                lanes.push(receiver);
                move || {
                    // there may be fewer threads than were wanted
                    let batches = pictures.chunks(size).skip(lane).step_by(*started.wait());
                    self.work(sharing, batches, finish, (&sender, stop));
                }
            });
            let threads = workers.as_ref().map_or(1, Vec::len);
            started.get_or_init(|| threads);
            let workers = workers?;
            'all: for (i, batch) in pictures.chunks(size).enumerate() {
                // a lane that ends early has died
                let Ok(results) = lanes[i % threads].recv() else { break };
                for (picture, result) in batch.iter().zip(results) {
                    if take(picture, result).is_break() {
                        break 'all;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
            drop(lanes); // wakes the threads that wait to send
            let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            if ends.iter().any(Result::is_err) { Err(ExecError::Worker) } else { Ok(()) }
        })
    }

    fn work<'a, T>(
        &self,
        sharing: usize,
        batches: impl Iterator<Item = &'a [NamedFile]>,
        finish: &impl Fn(&'a NamedFile, Vec<f32>) -> Result<T, Failure>,
        (sender, stop): (&SyncSender<Vec<Result<T, Failure>>>, &AtomicBool),
    ) {
        let mut session = self.shared_session(sharing);
        for batch in batches {
            let results = batch.iter().zip(self.extract_batch(&mut session, batch, stop));
            let finished = results.map(|(picture, features)| finish(picture, features?));
            // the other end is gone when nobody wants more
            if sender.send(finished.collect()).is_err() {
                break;
            }
        }
    }

    /// Features of a few pictures, which go through the network together.
    fn extract_batch(
        &self,
        session: &mut Session,
        batch: &[NamedFile],
        stop: &AtomicBool,
    ) -> Vec<Result<Vec<f32>, Failure>> {
        let mut input = Vec::new();
        let prepared: Vec<Result<(), Failure>> = batch
            .iter()
            .map(|picture| {
                let path = picture.location.as_ref().map_err(Failure::unreadable)?;
                let bytes = self.read(&Location::File(path.clone()), None, stop)?;
                let image = self.decode(&bytes)?.image;
                let start = input.len();
                input.resize(start + self.input_len(), 0.0);
                self.prepare(&image, &mut input[start..]);
                Ok(())
            })
            .collect();
        let mut rows = self.forward_each(session, &input).into_iter();
        let none = || Err(Failure { kind: "network", reason: "it gave no features".to_string() });
        prepared.into_iter().map(|one| one.and_then(|()| rows.next().unwrap_or_else(none))).collect()
    }

    /// The features of every prepared picture, or why it has none.
    fn forward_each(&self, session: &mut Session, input: &[f32]) -> Vec<Result<Vec<f32>, Failure>> {
        let each = self.input_len().max(1);
        let n = input.len() / each;
        if n == 0 {
            return Vec::new();
        }
        match self.forward(session, input, n) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            // its neighbours are none the worse
            Err(ExecError::NotFinite { .. }) if n > 1 => {
                input.chunks_exact(each).flat_map(|input| self.forward_each(session, input)).collect()
            }
            Err(error) => {
                let kind = if matches!(error, ExecError::NotFinite { .. }) { "not_finite" } else { "network" };
                vec![Err(Failure { kind, reason: error.to_string() }); n]
            }
        }
    }
}
