//! Runs work without the GIL; Ctrl-C ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use featurize::progress::{Style, Ui};
use pyo3::prelude::*;

use crate::errors::{FeaturizeError, exception};

/// The time between checks for Ctrl-C.
const NOTICE: Duration = Duration::from_millis(50);

/// Runs `work` on a thread of its own, so that other Python threads can run. A signal whose handler raises an exception
/// (Ctrl-C) stops `work` through its user interface; the exception is returned once `work` has ended.
pub(crate) fn interruptible<T: Send, E: Into<featurize::Error> + Send>(
    py: Python<'_>,
    style: Style,
    work: impl FnOnce(&Ui) -> Result<T, E> + Send,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let ui = Ui::new(style, Arc::clone(&stop));
    let (sender, receiver) = bounded(1);
    std::thread::scope(|scope| {
        let worker = Builder::new().spawn_scoped(scope, move || sender.send(work(&ui)));
        worker.map_err(|error| FeaturizeError::new_err(format!("the system lets no thread start: {error}")))?;
        let mut raised = Ok(());
        loop {
            match py.detach(|| receiver.recv_timeout(NOTICE)) {
                Ok(result) => return raised.and_then(|()| result.map_err(|error| exception(py, error))),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(exception) = py.check_signals() {
                        stop.store(true, Ordering::Relaxed);
                        raised = Err(exception);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    raised?;
                    return Err(FeaturizeError::new_err("a worker thread died; this is a fault of featurize"));
                }
            }
        }
    })
}
