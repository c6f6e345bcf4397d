//! Streams without a network, and both ways through one.

use super::*;
use crate::pictures::Named;
use crate::pictures::source::{Bytes, Entry, Opened};
use crate::progress::Style;
use crate::stages::scan::NamedFile;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// A source whose pictures have no bytes.
#[derive(Debug)]
struct Nothing;

impl Source for Nothing {
    fn entry(&self, _: usize) -> Entry<'_> {
        Entry { key: "nothing", size: None, version: 0 }
    }

    fn open_until(&self, number: usize, _: u64, _: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
        Err(Failure::unreadable(format_args!("reason {number}")))
    }
}

fn stream<'a>(wanted: &'a [usize], threads: usize, order: Order, ui: &'a Ui) -> Stream<'a> {
    Stream { source: &Nothing, wanted, threads, order, ui }
}

/// An error of the consumer, or one of the stream.
#[derive(Debug)]
enum Ended {
    Enough,
    Stream(#[allow(dead_code, reason = "shown where a test fails")] StreamError),
}

impl From<StreamError> for Ended {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

#[test]
fn results_come_in_order_whatever_the_threads_and_none_after_an_error() {
    let (ui, wanted) = (Ui::silent(), (0..300).map(|i| 3 * i).collect::<Vec<usize>>());
    for (threads, end) in [(1, 300), (7, 300), (3, 40), (1000, 1)] {
        let mut seen = Vec::new();
        let work = |number: usize| {
            // pictures that begin early may end late
            std::thread::sleep(Duration::from_micros((number * 37 % 11) as u64 * 20));
            number + 1
        };
        let result = stream(&wanted, threads, Order::Asked, &ui).each(work, |number, value| {
            assert_eq!(value, number + 1);
            seen.push(number);
            if seen.len() == end { Err(Ended::Enough) } else { Ok(()) }
        });
        assert!(matches!(result, Err(Ended::Enough)), "{result:?}");
        assert_eq!(seen, wanted[..end], "{threads} threads");
    }
    let mut seen = Vec::new();
    let any = stream(&wanted, 5, Order::Any, &ui);
    let take = |number, ()| {
        seen.push(number);
        Ok::<_, StreamError>(())
    };
    any.each(|_| (), take).expect("nobody stops it");
    seen.sort_unstable();
    assert_eq!(seen, wanted);
    stream(&[], 4, Order::Any, &ui).each(|_| (), |_, ()| Ok::<_, StreamError>(())).expect("nothing to do");
}

#[test]
fn threads_are_no_further_ahead_than_the_window() {
    let (ui, wanted) = (Ui::silent(), (0..2000).collect::<Vec<usize>>());
    let (threads, taken) = (4, AtomicUsize::new(0));
    let mut handed = 0;
    let work = |_: usize| taken.fetch_add(1, Ordering::SeqCst);
    let take = |_, _| {
        if handed % 100 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let ahead = taken.load(Ordering::SeqCst) - handed;
        assert!(ahead <= threads * AHEAD, "{ahead} pictures ahead");
        handed += 1;
        Ok::<_, StreamError>(())
    };
    stream(&wanted, threads, Order::Asked, &ui).each(work, take).expect("nobody stops it");
}

#[test]
fn a_thread_that_dies_and_a_wish_to_stop_are_told_at_once() {
    let wanted: Vec<usize> = (0..100_000).collect();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ui = Ui::silent();
    let work = |number: usize| assert!(number != 50, "a fault");
    let died = stream(&wanted, 2, Order::Any, &ui).each(work, |_, ()| Ok::<_, StreamError>(()));
    std::panic::set_hook(hook);
    assert!(matches!(died, Err(StreamError::Exec(ExecError::Worker))), "{died:?}");

    let stop = Arc::new(AtomicBool::new(false));
    let ui = Ui::new(Style::Quiet, stop.clone());
    let start = Instant::now();
    let work = |number: usize| {
        if number == 10 {
            stop.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let stopped = stream(&wanted, 2, Order::Any, &ui).each(work, |_, ()| Ok::<_, StreamError>(()));
    assert!(matches!(stopped, Err(StreamError::Interrupted(_))), "{stopped:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[cfg(feature = "bundled")]
mod of_a_network {
    use super::*;
    use crate::models::find;
    use crate::network_plan::NetworkPlan;
    use crate::pictures::Predictor;
    use crate::weights::Origin;
    use std::path::Path;

    fn network() -> NetworkPlan {
        let model = find("efficientnet_lite0").expect("registered");
        let (row, mut recipe) = (&model.weights[0], model.weights[0].recipe.clone());
        recipe.size = [64, 64];
        let weights = Origin::Bundled(row);
        NetworkPlan::new(model, row, weights, recipe, &[], crate::config::Features::default()).expect("built")
    }

    fn extractor() -> Extractor {
        Extractor::open(&network(), &Device::cpu()).expect("opened")
    }

    /// Ten of the shipped pictures, with unreadable ones between them.
    fn pictures() -> Vec<NamedFile> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fruits/Test/Banana");
        let mut sound = crate::stages::scan::named(&folder, &mut Default::default()).expect("shipped");
        sound.truncate(10);
        let gone = |i: usize| NamedFile::new(format!("gone {i}"), Err(Failure::unreadable(format!("reason {i}"))));
        let many = |n: usize| (0..n).map(gone).collect::<Vec<_>>();
        let rest = sound.split_off(5);
        [many(3), sound, many(150), rest, many(2)].concat()
    }

    #[test]
    fn batches_on_a_device_give_the_rows_of_the_workers() {
        let (extractor, pictures, ui) = (&extractor(), pictures(), Ui::silent());
        let (source, memory) = (Named(&pictures), &DecodeMemory::new(1 << 20));
        let wanted: Vec<usize> = (0..pictures.len()).collect();
        let rows = |way, threads, order| {
            let stream = Stream { source: &source, wanted: &wanted, threads, order, ui: &ui };
            let through = Through { extractor, way, memory, strict: false };
            let mut rows = Vec::new();
            let finish = |number, features: Vec<f32>| Ok((number, features));
            let (times, result) = stream.features(through, <[u8]>::len, finish, |done| {
                assert_eq!(done.seen.is_some(), done.result.is_ok());
                rows.push(done);
                Ok::<_, StreamError>(())
            });
            result.expect("nobody stops it");
            assert!(times.read > 0.0 && times.forward > 0.0);
            rows
        };
        let workers = rows(Way::Workers, 1, Order::Asked);
        assert!(workers.iter().map(|done| done.number).eq(wanted.iter().copied()));
        assert_eq!(workers.iter().filter(|done| done.result.is_ok()).count(), 10);
        assert!(rows(Way::Workers, 3, Order::Asked) == workers);
        for size in [1, 4, 64] {
            for threads in [1, 3] {
                assert!(rows(Way::Batches(size), threads, Order::Asked) == workers, "{size}, {threads} threads");
            }
        }
        for way in [Way::Workers, Way::Batches(3)] {
            let mut any = rows(way, 2, Order::Any);
            any.sort_by_key(|done| done.number);
            assert!(any == workers, "{way:?}");
        }
    }

    #[test]
    fn several_devices_share_the_pictures() {
        let (pictures, ui) = (pictures(), Ui::silent());
        let (source, memory) = (Named(&pictures), &DecodeMemory::new(1 << 20));
        let wanted: Vec<usize> = (0..pictures.len()).collect();
        let rows = |extractor: &Extractor, way| {
            let stream = Stream { source: &source, wanted: &wanted, threads: 2, order: Order::Asked, ui: &ui };
            let through = Through { extractor, way, memory, strict: false };
            let mut rows = Vec::new();
            let (times, result) = stream.features(
                through,
                |_| (),
                |_, features| Ok(features),
                |done| {
                    rows.push(done);
                    Ok::<_, StreamError>(())
                },
            );
            result.expect("nobody stops it");
            (rows, times)
        };
        let (workers, times) = rows(&extractor(), Way::Workers);
        assert_eq!(times.waited.device, 0.0);
        let by_candle = network().kernels(crate::exec::Kernels::Reference);
        for units in [1, 3] {
            let extractor = Extractor::open(&by_candle, &Device::cpus(units)).expect("opened");
            assert_eq!(extractor.units(), units);
            for size in [1, 4] {
                let (devices, times) = rows(&extractor, Way::Batches(size));
                // ten pictures lie beside 155 that are missing, and devices wait for them
                assert!(times.forward > 0.0 && times.waited.device > 0.0 && times.waited.writer > 0.0, "{times:?}");
                for (ours, theirs) in workers.iter().zip(&devices) {
                    assert_eq!(ours.number, theirs.number);
                    match (&ours.result, &theirs.result) {
                        (Ok(ours), Ok(theirs)) => {
                            let pairs = ours.value.iter().zip(&theirs.value);
                            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                            assert!(apart < 1e-4 && (ours.width, ours.height) == (theirs.width, theirs.height));
                        }
                        (ours, theirs) => assert_eq!(ours.as_ref().err(), theirs.as_ref().err()),
                    }
                }
                assert_eq!(devices.len(), workers.len());
            }
        }
    }

    /// The files of a list, delayed as if they came from a server.
    #[derive(Debug)]
    struct Slow<'a> {
        files: Named<'a>,
        opening: AtomicUsize,
        most: AtomicUsize,
        down: Option<usize>,
    }

    impl Source for Slow<'_> {
        fn entry(&self, number: usize) -> Entry<'_> {
            self.files.entry(number)
        }

        fn open_until(&self, number: usize, most: u64, _: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
            self.most.fetch_max(self.opening.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // pictures that are requested early may arrive late
            std::thread::sleep(Duration::from_millis((number * 37 % 11) as u64));
            self.opening.fetch_sub(1, Ordering::SeqCst);
            if self.down == Some(number) {
                return Err(Failure::new(crate::pictures::source::remote::DOWN, "gone"));
            }
            let opened = self.files.open(number, most)?;
            let Opened { length, bytes: Bytes::File(file) } = opened else { return Ok(opened) };
            Ok(Opened { length, bytes: Bytes::Reader(Box::new(file)) })
        }

        fn requests(&self) -> usize {
            7
        }
    }

    #[test]
    fn pictures_that_are_opened_ahead_give_the_same_rows() {
        let (extractor, pictures, ui) = (&extractor(), pictures(), Ui::silent());
        let wanted: Vec<usize> = (0..pictures.len()).collect();
        let memory = &DecodeMemory::new(1 << 20);
        let rows = |source: &dyn Source, way, threads| {
            let stream = Stream { source, wanted: &wanted, threads, order: Order::Asked, ui: &ui };
            let through = Through { extractor, way, memory, strict: false };
            let mut rows = Vec::new();
            let take = |done: Done<usize, Vec<f32>>| {
                rows.push(done);
                Ok::<_, StreamError>(())
            };
            stream.features(through, <[u8]>::len, |_, features| Ok(features), take).1.map(|()| rows)
        };
        let slow = |down| Slow { files: Named(&pictures), opening: 0.into(), most: 0.into(), down };
        let at_once = rows(&Named(&pictures), Way::Workers, 1).expect("nobody stops it");
        for (way, threads) in [(Way::Workers, 1), (Way::Workers, 3), (Way::Batches(4), 2)] {
            let source = slow(None);
            assert!(rows(&source, way, threads).expect("nobody stops it") == at_once, "{way:?}, {threads} threads");
            assert_eq!(source.most.into_inner(), 7);
            let ended = rows(&slow(Some(100)), way, threads);
            assert!(matches!(ended, Err(StreamError::Down(reason)) if reason == "gone"));
        }
    }

    #[test]
    fn a_classifier_gives_the_same_probabilities_by_batches() {
        let (pictures, ui) = (pictures(), Ui::silent());
        let (source, memory, wanted) = (Named(&pictures), DecodeMemory::new(1 << 20), [3, 0, 4, 5]);
        let model = find("efficientnet_lite0").expect("registered");
        let open = || {
            let weights = Origin::Bundled(&model.weights[0]);
            let row = &model.weights[0];
            let network = NetworkPlan::classifier(model, row, weights, row.recipe.clone()).expect("planned");
            Predictor::of_network(&network, None, &Device::cpu()).expect("opened")
        };
        let rows = |predictor: &Predictor| {
            let stream = Stream { source: &source, wanted: &wanted, threads: 2, order: Order::Asked, ui: &ui };
            let (mut rows, see) = (Vec::new(), |number: usize, row: &[f32]| (number, row.len()));
            let take = |number, result| {
                rows.push((number, result));
                Ok::<_, StreamError>(())
            };
            predictor.predict(&stream, &memory, see, take).expect("nobody stops it");
            rows
        };
        let predictor = open();
        let workers = rows(&predictor);
        assert_eq!(workers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), wanted);
        assert_eq!(workers[1].1.as_ref().map_err(ToString::to_string), Err("unreadable: reason 0".to_string()));
        assert!(workers[0].1.as_ref().is_ok_and(|(_, seen)| *seen == (3, 1000)));
        assert!(rows(&open().by(Way::Batches(3))) == workers);
    }
}
