//! The steps of a picture through a network, on the threads of a stream.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ahead::Ahead;
use super::feed::Feed;
use super::{Done, Made, Stream, StreamError, Through, Times};
use crate::exec::ExecError;
use crate::image::RgbImage;
use crate::pictures::source::{Failure, most_bytes};
use crate::terminal::printable;

/// The times of each step, summed over all threads.
#[derive(Default)]
pub(super) struct Clock(Mutex<Times>);

impl Clock {
    /// Runs `work` and adds its seconds to `part`.
    pub(super) fn time<T>(&self, part: fn(&mut Times) -> &mut f64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(part, start.elapsed());
        result
    }

    pub(super) fn add(&self, part: fn(&mut Times) -> &mut f64, time: Duration) {
        *part(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += time.as_secs_f64();
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
        let extractor = self.through.extractor;
        let each = extractor.input_len();
        let mut session = extractor.shared_session(sharing);
        let mut input = vec![0.0; together * each];
        loop {
            let (mut batch, mut prepared) = (Vec::with_capacity(together), 0);
            // a thread that holds pictures does not wait for others, since the consumer may wait for the pictures that
            // it holds
            while batch.len() < together
                && let Some(place) = self.next(feed, batch.is_empty())
            {
                let values = &mut input[prepared * each..(prepared + 1) * each];
                let done = self.prepare(feed, place, |picture| extractor.prepare(picture, values));
                prepared += usize::from(done.result.is_ok());
                batch.push((place, done));
            }
            if batch.is_empty() || feed.is_over() {
                return;
            }
            let mut forward = |first: usize, n: usize| {
                let input = &input[first * each..(first + n) * each];
                self.clock.time(|times| &mut times.forward, || extractor.forward(&mut session, input, n))
            };
            let rows = if prepared > 0 { forward(0, prepared) } else { Ok(Vec::new()) };
            self.settle(feed, batch, rows, |i| forward(i, 1), finish);
        }
    }

    /// The place of the next picture; the time until there is room for it is counted.
    pub(super) fn next<T>(&self, feed: &Feed<T>, wait: bool) -> Option<usize> {
        self.clock.time(|times| &mut times.waited.workers, || feed.next(wait))
    }

    /// Reads and decodes one picture, and calls `prepare` with its pixels. `see` gets the same bytes that are decoded.
    pub(super) fn prepare<T, P>(
        &self,
        feed: &Feed<T>,
        place: usize,
        prepare: impl FnOnce(&RgbImage) -> P,
    ) -> Done<S, P> {
        let Self { stream, through: Through { extractor, memory, .. }, ahead, see, clock } = self;
        let number = stream.wanted[place];
        let (recipe, decoding) = (extractor.recipe(), extractor.decoding());
        let mut seen = None;
        let run = || {
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
            let value = clock.time(|times| &mut times.prepare, || prepare(&decoded.image));
            Ok(Made { width: decoded.width as u64, height: decoded.height as u64, value })
        };
        let result: Result<_, Failure> = run();
        if let Err(failure) = &result
            && failure.is_down()
        {
            feed.fail(StreamError::Down(failure.reason.clone()));
        }
        Done { number, seen, result }
    }

    /// Sends all results of a batch: `rows` are the features of its prepared pictures, and `alone` computes the picture
    /// of that index by itself.
    pub(super) fn settle<T>(
        &self,
        feed: &Feed<Done<S, T>>,
        batch: Vec<Ready<S>>,
        rows: Result<Vec<Vec<f32>>, ExecError>,
        mut alone: impl FnMut(usize) -> Result<Vec<Vec<f32>>, ExecError>,
        finish: &impl Fn(usize, Vec<f32>) -> Result<T, Failure>,
    ) {
        let sound: Vec<usize> =
            batch.iter().filter(|(_, done)| done.result.is_ok()).map(|(_, done)| done.number).collect();
        let rows = match rows {
            // one picture with NaN must not make the others fail
            Err(ExecError::NotFinite { .. }) if !self.through.strict && sound.len() > 1 => {
                let each = sound.iter().enumerate().map(|(i, &number)| self.rows(&[number], alone(i)));
                each.collect::<Result<Vec<_>, _>>().map(|rows| rows.into_iter().flatten().collect())
            }
            rows => self.rows(&sound, rows),
        };
        let mut rows = match rows {
            Ok(rows) => rows.into_iter(),
            Err(error) => return feed.fail(error),
        };
        let none = || Err(Failure::new("network", "it gave no features"));
        for (place, done) in batch {
            let go_on = |number, ()| finish(number, rows.next().unwrap_or_else(none)?);
            feed.send(place, done.then(go_on));
        }
    }

    /// The features of the pictures `numbers`, or the failure of each.
    fn rows(
        &self,
        numbers: &[usize],
        rows: Result<Vec<Vec<f32>>, ExecError>,
    ) -> Result<Vec<Result<Vec<f32>, Failure>>, StreamError> {
        match rows {
            Ok(rows) => Ok(rows.into_iter().map(Ok).collect()),
            Err(error @ ExecError::NotFinite { picture, .. }) if self.through.strict => {
                let Some(&number) = numbers.get(picture) else { return Err(error.into()) };
                let key = printable(self.stream.source.entry(number).key).into_owned();
                Err(StreamError::Picture { key, error: Box::new(error) })
            }
            Err(error) if self.through.strict => Err(error.into()),
            Err(error) => {
                let kind = if matches!(error, ExecError::NotFinite { .. }) { "not_finite" } else { "network" };
                Ok(vec![Err(Failure::new(kind, error.to_string())); numbers.len()])
            }
        }
    }
}
