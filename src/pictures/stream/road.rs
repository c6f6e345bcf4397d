//! The steps of a picture through a network, on the threads of a stream.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ahead::Ahead;
use super::feed::Feed;
use super::{Done, Made, Stream, StreamError, Through, Times};
use crate::exec::{ExecError, Session};
use crate::pictures::source::{Failure, most_bytes};
use crate::terminal::printable;

/// The time after which an idle device checks whether another picture can arrive before its batch is computed.
const IDLE: Duration = Duration::from_millis(10);

/// The times of each step, summed over all threads.
#[derive(Default)]
pub(super) struct Clock(Mutex<Times>);

impl Clock {
    /// Runs `work` and adds its seconds to `part`.
    fn time<T>(&self, part: fn(&mut Times) -> &mut f64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        *part(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += start.elapsed().as_secs_f64();
        result
    }

    pub(super) fn read(&self) -> Times {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A picture that is prepared, or has failed, with its place.
pub(super) type Ready<S> = (usize, Done<S, ()>);

/// The steps of a picture through a network.
pub(super) struct Road<'a, 'b, See> {
    pub(super) stream: &'a Stream<'a>,
    pub(super) through: Through<'a>,
    pub(super) ahead: Option<&'a Ahead<'b>>,
    pub(super) see: See,
    pub(super) clock: &'a Clock,
}

impl<S, See: Fn(&[u8]) -> S + Sync> Road<'_, '_, See> {
    /// A CPU thread: runs all steps, for a few pictures at a time.
    pub(super) fn work<T>(
        &self,
        feed: &Feed<Done<S, T>>,
        together: usize,
        sharing: usize,
        finish: &impl Fn(usize, Vec<f32>) -> Result<T, Failure>,
    ) {
        let each = self.through.extractor.input_len();
        let mut session = self.through.extractor.shared_session(sharing);
        let mut input = vec![0.0; together * each];
        loop {
            let (mut batch, mut prepared) = (Vec::with_capacity(together), 0);
            // a thread that holds pictures does not wait for others, since the consumer may wait for the pictures that
            // it holds
            while batch.len() < together
                && let Some(place) = feed.next(batch.is_empty())
            {
                let done = self.prepare(feed, place, &mut input[prepared * each..(prepared + 1) * each]);
                prepared += usize::from(done.result.is_ok());
                batch.push((place, done));
            }
            if batch.is_empty() || feed.is_over() {
                return;
            }
            self.settle(feed, &mut session, &input[..prepared * each], batch, finish);
        }
    }

    /// A thread beside a device: prepares pictures one by one.
    pub(super) fn inputs<T>(&self, feed: &Feed<T>, device: &Sender<(Ready<S>, Vec<f32>)>) {
        while let Some(place) = feed.next(true) {
            let mut input = vec![0.0; self.through.extractor.input_len()];
            let done = self.prepare(feed, place, &mut input);
            if done.result.is_err() {
                input.clear();
            }
            // the receiver is dropped only when the work is over
            if device.send(((place, done), input)).is_err() {
                return;
            }
        }
    }

    /// The thread of a device: computes a batch once it is full, or once no other picture can arrive before it is
    /// computed.
    pub(super) fn batches(&self, feed: &Feed<Done<S, Vec<f32>>>, inputs: &Receiver<(Ready<S>, Vec<f32>)>, size: usize) {
        let full = size * self.through.extractor.input_len();
        let mut session = self.through.extractor.session();
        let (mut batch, mut input, mut come) = (Vec::new(), Vec::with_capacity(full), 0);
        while come < feed.count && !feed.is_over() {
            let is_due = match inputs.recv_timeout(IDLE) {
                Ok((ready, values)) => {
                    come += 1;
                    input.extend(values);
                    batch.push(ready);
                    input.len() >= full || batch.len() >= 2 * size || come == feed.count
                }
                Err(_) => feed.is_full(),
            };
            if is_due {
                self.settle(feed, &mut session, &input, std::mem::take(&mut batch), &|_, features| Ok(features));
                input.clear();
            }
        }
    }

    /// Reads, decodes and prepares one picture into `input`. `see` gets the same bytes that are decoded.
    fn prepare<T>(&self, feed: &Feed<T>, place: usize, input: &mut [f32]) -> Done<S, ()> {
        let Self { stream, through: Through { extractor, memory, .. }, ahead, see, clock } = self;
        let number = stream.wanted[place];
        let (recipe, decoding) = (extractor.recipe(), extractor.decoding());
        let mut seen = None;
        let mut run = || {
            let bytes = clock.time(
                |times| &mut times.read,
                || {
                    let opened = match ahead {
                        Some(ahead) => ahead.take(place, &feed.over)?,
                        None => stream.source.open(number, most_bytes(decoding))?,
                    };
                    let bytes = memory.read(opened, recipe, decoding, &feed.over)?;
                    seen = Some(see(&bytes));
                    Ok::<_, Failure>(bytes)
                },
            )?;
            let decoded = clock.time(|times| &mut times.decode, || extractor.decode(&bytes))?;
            clock.time(|times| &mut times.prepare, || extractor.prepare(&decoded.image, input));
            Ok(Made { width: decoded.width as u64, height: decoded.height as u64, value: () })
        };
        let result: Result<_, Failure> = run();
        if let Err(failure) = &result
            && failure.is_down()
        {
            feed.fail(StreamError::Down(failure.reason.clone()));
        }
        Done { number, seen, result }
    }

    /// Computes the prepared pictures of a batch and sends all results.
    fn settle<T>(
        &self,
        feed: &Feed<Done<S, T>>,
        session: &mut Session,
        input: &[f32],
        batch: Vec<Ready<S>>,
        finish: &impl Fn(usize, Vec<f32>) -> Result<T, Failure>,
    ) {
        let sound = batch.iter().filter(|(_, done)| done.result.is_ok()).map(|(_, done)| done.number).collect();
        let mut rows = match self.clock.time(|times| &mut times.forward, || self.forward(session, input, sound)) {
            Ok(rows) => rows.into_iter(),
            Err(error) => return feed.fail(error),
        };
        let none = || Err(Failure::new("network", "it gave no features"));
        for (place, done) in batch {
            let go_on = |number, ()| finish(number, rows.next().unwrap_or_else(none)?);
            feed.send(place, done.then(go_on));
        }
    }

    /// The features of the prepared pictures `numbers`, or the failure of each.
    fn forward(
        &self,
        session: &mut Session,
        input: &[f32],
        numbers: Vec<usize>,
    ) -> Result<Vec<Result<Vec<f32>, Failure>>, StreamError> {
        let (Through { extractor, strict, .. }, n) = (self.through, numbers.len());
        if n == 0 {
            return Ok(Vec::new());
        }
        match extractor.forward(session, input, n) {
            Ok(rows) => Ok(rows.into_iter().map(Ok).collect()),
            Err(error @ ExecError::NotFinite { picture, .. }) if strict => {
                let Some(&number) = numbers.get(picture) else { return Err(error.into()) };
                let key = printable(self.stream.source.entry(number).key).into_owned();
                Err(StreamError::Picture { key, error: Box::new(error) })
            }
            Err(error) if strict => Err(error.into()),
            // one picture with NaN must not make the others fail
            Err(ExecError::NotFinite { .. }) if n > 1 => {
                let alone = input.chunks_exact(extractor.input_len().max(1)).zip(numbers);
                let rows = alone.map(|(input, number)| self.forward(session, input, vec![number]));
                Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            Err(error) => {
                let kind = if matches!(error, ExecError::NotFinite { .. }) { "not_finite" } else { "network" };
                Ok(vec![Err(Failure::new(kind, error.to_string())); n])
            }
        }
    }
}
