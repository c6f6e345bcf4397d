//! Pictures that can only be read in their stored order (compressed streams, pages of Parquet), for threads that
//! request them nearly in that order: a thread that requests a picture reads up to it, and keeps the pictures before it
//! for the other threads.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::stored::Order;
use super::{Archive, damaged};
use crate::pictures::source::Failure;

/// The most bytes that a window keeps for other threads.
const KEPT: u64 = 128 << 20;
/// A kept picture that is so many pictures behind the last one read is dropped, since no thread will request it.
const BEHIND: u64 = 1 << 11;
/// The most windows that are open at a time. Where one archive ends and the next begins, two are needed; tables of few
/// rows need more.
const OPEN: usize = 8;

/// Reads pictures one after another.
pub(super) trait Sequence: Send {
    /// The bytes of the next picture; none if it has more than `most`, in which case it takes no memory.
    fn next(&mut self, most: u64) -> Result<Option<Vec<u8>>, Failure>;
}

/// Opens the sequences.
pub(super) trait Ordered: Send + Sync + fmt::Debug {
    /// The number of the picture with which the sequence for `number` begins: itself, or an earlier one.
    fn start(&self, number: u64) -> u64;
    /// A sequence that begins with the picture `start`, which [`start`](Self::start) returned.
    fn open(&self, archive: &Archive, start: u64) -> Result<Box<dyn Sequence>, Failure>;
    /// How the archive is read, for a stored listing.
    fn order(&self) -> Order;
    /// The offset of a picture in the stream, for a stored listing.
    fn offset(&self, _number: u64) -> u64 {
        0
    }
}

/// A window of pictures around the current position in one archive.
pub(super) struct Window {
    source: Box<dyn Ordered>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sequence: Option<Box<dyn Sequence>>,
    /// The number of the next picture of the sequence.
    next: u64,
    /// Pictures that were skipped and not requested yet.
    kept: BTreeMap<u64, Vec<u8>>,
    bytes: u64,
    /// The number of the first picture that cannot be read, and the failure.
    broken: Option<(u64, Failure)>,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Window").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The archives with open windows, the most recently used last.
static RECENT: Mutex<VecDeque<Weak<Archive>>> = Mutex::new(VecDeque::new());

impl Window {
    pub(super) fn new(source: Box<dyn Ordered>) -> Self {
        Self { source, state: Mutex::default() }
    }

    pub(super) fn source(&self) -> &dyn Ordered {
        &*self.source
    }

    /// The picture `number` of `archive`, to which the window belongs.
    pub(super) fn read(&self, archive: &Arc<Archive>, number: u64) -> Result<Vec<u8>, Failure> {
        let (result, opened) = self.read_on(archive, number);
        if opened {
            close_others(archive);
        }
        result
    }

    /// The picture, and whether a sequence was opened for it.
    fn read_on(&self, archive: &Archive, number: u64) -> (Result<Vec<u8>, Failure>, bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = state.take(number) {
            return (Ok(bytes), false);
        }
        if let Some((from, failure)) = &state.broken
            && number >= *from
        {
            return (Err(failure.clone()), false);
        }
        let start = self.source.start(number);
        let opened = state.sequence.is_none() || number < state.next || start > state.next + BEHIND;
        if opened {
            match guarded(|| self.source.open(archive, start)) {
                Ok(sequence) => (state.sequence, state.next) = (Some(sequence), start),
                Err(failure) => return (Err(failure), false),
            }
        }
        (state.advance(number), opened)
    }

    /// Drops the sequence and the kept pictures; the next request opens the archive again.
    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { broken: state.broken.take(), ..State::default() };
    }
}

impl State {
    fn take(&mut self, number: u64) -> Option<Vec<u8>> {
        let bytes = self.kept.remove(&number)?;
        self.bytes -= bytes.len() as u64;
        Some(bytes)
    }

    /// Reads up to the picture `number`.
    fn advance(&mut self, number: u64) -> Result<Vec<u8>, Failure> {
        loop {
            let sequence = self.sequence.as_mut().ok_or_else(|| damaged("it has no beginning"))?;
            // whatever would not be kept for others is passed by
            let most = if self.next == number { u64::MAX } else { KEPT };
            let bytes = match guarded(|| sequence.next(most)) {
                Ok(bytes) => bytes,
                Err(failure) => {
                    // pictures after a fault of the stream are lost, and further requests fail without reading
                    self.broken = Some((self.next, failure.clone()));
                    self.sequence = None;
                    return Err(failure);
                }
            };
            let at = self.next;
            self.next += 1;
            match bytes {
                Some(bytes) if at == number => return Ok(bytes),
                Some(bytes) => self.keep(at, bytes),
                None => {}
            }
        }
    }

    fn keep(&mut self, number: u64, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        self.kept.insert(number, bytes);
        while let Some((&first, _)) = self.kept.first_key_value()
            && (self.bytes > KEPT || first + BEHIND < number)
        {
            self.take(first);
        }
    }
}

/// Records that the window of `archive` was opened, and closes the least recently used one.
fn close_others(archive: &Arc<Archive>) {
    let oldest = {
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(archive)));
        recent.push_back(Arc::downgrade(archive));
        if recent.len() > OPEN { recent.pop_front() } else { None }
    };
    // outside of the lock, since a thread may be reading from the window
    if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade())
        && let super::Reading::Ordered(window) = &oldest.reading
    {
        window.close();
    }
}

/// Calls `read`. A panic of a table reader over unexpected bytes becomes a failure of the archive.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged("its archive cannot be read")))
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Reading};
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Sequences whose pictures are their own numbers; from `broken` on they fail.
    #[derive(Debug)]
    struct Numbers {
        opened: Arc<AtomicUsize>,
        broken: u64,
    }

    struct From(u64, u64);

    impl Sequence for From {
        fn next(&mut self, _: u64) -> Result<Option<Vec<u8>>, Failure> {
            if self.0 == self.1 {
                return Err(damaged("the end"));
            }
            self.0 += 1;
            Ok(Some((self.0 - 1).to_le_bytes().to_vec()))
        }
    }

    impl Ordered for Numbers {
        fn start(&self, number: u64) -> u64 {
            number / 100_000 * 100_000
        }

        fn open(&self, _: &Archive, start: u64) -> Result<Box<dyn Sequence>, Failure> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(From(start, self.broken)))
        }

        fn order(&self) -> Order {
            Order::Random
        }
    }

    fn numbers(broken: u64) -> (Arc<Archive>, Arc<AtomicUsize>) {
        let opened = Arc::new(AtomicUsize::new(0));
        let window = Window::new(Box::new(Numbers { opened: opened.clone(), broken }));
        let reading = Reading::Ordered(window);
        let facts = Facts { path: "x".into(), bytes: 0, modified: 0, stamp: 1, order: Order::Random };
        (Arc::new(Archive { facts, reading }), opened)
    }

    fn read(archive: &Arc<Archive>, number: u64) -> Result<u64, Failure> {
        let Reading::Ordered(window) = &archive.reading else { return Err(damaged("no window")) };
        let bytes = window.read(archive, number)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    #[test]
    fn many_threads_read_a_stream_once() {
        let (archive, opened) = numbers(u64::MAX);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let first = next.fetch_add(16, Ordering::Relaxed) as u64;
                        if first >= 50_000 {
                            break;
                        }
                        (first..first + 16).for_each(|n| assert_eq!(read(&archive, n), Ok(n)));
                    }
                });
            }
        });
        // other tests may close the window now and then
        assert!(opened.load(Ordering::Relaxed) < 100, "{opened:?}");
    }

    #[test]
    fn any_order_is_right_and_a_fault_is_met_once() {
        let (archive, opened) = numbers(250_000);
        for n in [5, 3, 3, 99_999, 200_001, 0] {
            assert_eq!(read(&archive, n), Ok(n));
        }
        for n in [249_999, 250_000, 400_000, 250_000] {
            assert_eq!(read(&archive, n).is_ok(), n < 250_000);
        }
        assert!(opened.load(Ordering::Relaxed) < 8, "{opened:?}");
    }

    #[test]
    fn few_windows_are_open_at_a_time() {
        let archives: Vec<_> = (0..2 * OPEN).map(|_| numbers(u64::MAX)).collect();
        archives.iter().for_each(|(archive, _)| assert_eq!(read(archive, 7), Ok(7)));
        let is_open = |(archive, _): &&(Arc<Archive>, Arc<AtomicUsize>)| match &archive.reading {
            Reading::Ordered(window) => window.state.lock().expect("not poisoned").sequence.is_some(),
            Reading::Random => false,
        };
        assert!(archives.iter().filter(is_open).count() <= OPEN);
        assert_eq!(read(&archives[0].0, 6), Ok(6));
    }
}
