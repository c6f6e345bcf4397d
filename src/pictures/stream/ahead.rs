//! Opens pictures ahead of the threads that decode them, if each takes a while to arrive, as from a server.
//!
//! The source says how many pictures are requested at once; they are requested in the order in which threads take them.
//! Pictures that have arrived and are not taken stay within `KEPT` bytes; only the picture that is taken next never
//! waits for memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{NOTICE, Stream};
use crate::pictures::source::{Bytes, Failure, Opened};

/// The most bytes of pictures that wait to be taken.
const KEPT: u64 = 128 << 20;

/// A picture that is requested (None), or has arrived.
type Slot<'a> = Option<Result<Opened<'a>, Failure>>;

/// The pictures that are requested ahead.
pub(super) struct Ahead<'a> {
    stream: &'a Stream<'a>,
    most: u64,
    state: Mutex<State<'a>>,
    /// Signals that a picture has arrived.
    come: Condvar,
    /// Signals that there may be memory for another one.
    room: Condvar,
}

#[derive(Default)]
struct State<'a> {
    /// The place that is requested next.
    next: usize,
    /// The pictures by place.
    slots: BTreeMap<usize, Slot<'a>>,
    /// Bytes of the pictures that have arrived or are arriving.
    held: u64,
    /// Threads that have the header of a response and wait for memory for its body.
    short: usize,
}

impl<'a> Ahead<'a> {
    /// For pictures of at most `most` bytes each; none if the source wants no requests.
    pub(super) fn of(stream: &'a Stream<'a>, most: u64) -> Option<Self> {
        let (state, come, room) = Default::default();
        (stream.source.requests() > 0).then_some(Self { stream, most, state, come, room })
    }

    /// The number of threads that send requests.
    pub(super) fn threads(&self) -> usize {
        self.stream.source.requests().min(self.stream.wanted.len())
    }

    /// The work of such a thread.
    pub(super) fn ask(&self, over: &Arc<AtomicBool>) {
        while let Some(place) = self.next(over) {
            let number = self.stream.wanted[place];
            let opened = self.stream.source.open_until(number, self.most, over);
            let opened = opened.and_then(|opened| self.held(place, opened, over));
            self.lock().slots.insert(place, Some(opened));
            self.come.notify_all();
        }
    }

    /// The place of the next picture, once there is memory for another one.
    fn next(&self, over: &AtomicBool) -> Option<usize> {
        let most = 2 * self.stream.source.requests();
        let has_room = |state: &State| state.slots.is_empty() || state.slots.len() < most && state.held < KEPT;
        let mut state = self.wait(&self.room, over, has_room)?;
        let place = state.next;
        if place >= self.stream.wanted.len() {
            return None;
        }
        state.next += 1;
        state.slots.insert(place, None);
        Some(place)
    }

    /// Reads all bytes of the picture into memory.
    fn held(&self, place: usize, opened: Opened<'a>, over: &AtomicBool) -> Result<Opened<'a>, Failure> {
        let Opened { length, bytes } = opened;
        let stopped = || Failure::new("interrupted", "the work was stopped");
        let bytes = match bytes {
            Bytes::Reader(reader) => {
                let fits = |state: &State| {
                    state.held.saturating_add(length) <= KEPT
                        || state.slots.first_key_value().map(|(first, _)| *first) == Some(place)
                };
                self.lock().short += 1;
                let room = self.wait(&self.room, over, fits).map(|mut state| state.held += length);
                self.lock().short -= 1;
                room.ok_or_else(stopped)?;
                let mut all = Vec::new();
                let read = reader.take(length + 1).read_to_end(&mut all);
                if !matches!(read, Ok(read) if read as u64 == length) {
                    self.lock().held -= length;
                    return Err(read.map_or_else(Failure::from, |_| Failure::changed()));
                }
                Bytes::Held(all.into())
            }
            bytes => {
                self.lock().held += length;
                bytes
            }
        };
        Ok(Opened { length, bytes })
    }

    /// The picture of a place, once it has arrived.
    pub(super) fn take(&self, place: usize, over: &AtomicBool) -> Result<Opened<'a>, Failure> {
        let has_come = |state: &State| matches!(state.slots.get(&place), Some(Some(_)));
        let taken = self.wait(&self.come, over, has_come).and_then(|mut state| {
            let taken = state.slots.remove(&place).flatten();
            if let Some(Ok(opened)) = &taken {
                state.held -= opened.length;
            }
            // one picture makes room for one other, and it is not known which thread waits for the lowest place
            if state.short > 0 {
                self.room.notify_all()
            } else {
                self.room.notify_one()
            }
            taken
        });
        taken.unwrap_or_else(|| Err(Failure::new("interrupted", "the work was stopped")))
    }

    /// Waits until the state fulfils a condition; none when the work is over.
    fn wait(
        &self,
        moved: &Condvar,
        over: &AtomicBool,
        is_fit: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State<'a>>> {
        let mut state = self.lock();
        while !over.load(Ordering::Relaxed) {
            if is_fit(&state) {
                return Some(state);
            }
            state = moved.wait_timeout(state, NOTICE).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
