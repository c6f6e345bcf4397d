//! Shows the progress of a run to the user (a bar for each stage on a terminal, plain lines or JSON elsewhere), and
//! passes on the user's request to stop.

mod pace;

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

pub use featurize_nets::memory::bytes;
pub use featurize_nets::weights::store::Interrupted;

use crate::stage::StageId;
use crate::terminal::{Colours, printable_json, printable_lines};
use crate::weights::store;
use pace::Pace;

/// The time between two plain progress lines.
const EVERY: Duration = Duration::from_secs(5);

/// The way in which a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Only errors and the result.
    Quiet,
    /// One JSON object a line on standard error.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Bars,
    Plain,
    Quiet,
    Json,
}

/// The output of a run to its user.
#[derive(Clone, Debug)]
pub struct Ui {
    mode: Mode,
    bars: MultiProgress,
    stop: Arc<AtomicBool>,
    start: Instant,
    colours: Colours,
    details: bool,
}

impl Ui {
    /// Makes an output in `style`. Setting `stop` asks the run to end.
    pub fn new(style: Style, stop: Arc<AtomicBool>) -> Self {
        let mode = match style {
            Style::Quiet => Mode::Quiet,
            Style::Json => Mode::Json,
            Style::Auto if std::io::stderr().is_terminal() => Mode::Bars,
            Style::Auto => Mode::Plain,
        };
        let target = if mode == Mode::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            mode,
            bars: MultiProgress::with_draw_target(target),
            stop,
            start: Instant::now(),
            colours: Colours::of_stderr(),
            details: false,
        }
    }

    /// Returns the same output, which shows each [`detail`](Self::detail) if they are `wanted`.
    pub fn with_details(self, wanted: bool) -> Self {
        Self { details: wanted, ..self }
    }

    /// Makes an output that shows nothing and never stops, for tests and for the library.
    pub fn silent() -> Self {
        Self::new(Style::Quiet, Arc::default())
    }

    /// Whether the run was asked to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Raised when the run was asked to end.
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Returns an error if the run was asked to end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.stopped() { Err(Interrupted) } else { Ok(()) }
    }

    /// Shows a decision and its reason to users who asked for details.
    pub fn detail(&self, text: &str) {
        if self.details {
            self.say("detail", text);
        }
    }

    /// Shows a message.
    pub fn note(&self, text: &str) {
        self.say("note", text);
    }

    /// Shows a warning.
    pub fn warn(&self, text: &str) {
        self.say("warning", text);
    }

    fn say(&self, level: &str, text: &str) {
        match self.mode {
            Mode::Quiet if level != "warning" => {}
            Mode::Json => self.json(json!({"level": level, "message": text})),
            _ => {
                let text = printable_lines(text);
                self.line(&match level {
                    "note" => text.into_owned(),
                    "detail" => self.colours.faint(&text).into_owned(),
                    level => format!("{}: {text}", self.colours.warn(level)),
                });
            }
        }
    }

    /// Writes a record for programs, with `--log json` only.
    pub fn event(&self, fields: serde_json::Value) {
        if self.mode == Mode::Json {
            self.json(fields);
        }
    }

    fn json(&self, mut fields: serde_json::Value) {
        if let Some(object) = fields.as_object_mut() {
            object.insert("elapsed_s".into(), json!((self.start.elapsed().as_secs_f64() * 1e3).round() / 1e3));
        }
        self.line(&printable_json(&fields.to_string()));
    }

    fn line(&self, text: &str) {
        // Standard error may be closed; then there is nobody to write to.
        self.bars.suspend(|| writeln!(std::io::stderr().lock(), "{text}").ok());
    }

    /// Writes a line to standard error in every style.
    pub fn tell(&self, text: &str) {
        self.line(&printable_lines(text));
    }

    /// Runs `print`, which may write to the terminal that shows the bars.
    pub fn beside_bars<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Begins the line of a stage with `total` units (`images`, `epochs`), or with an unknown number.
    pub fn stage(&self, stage: StageId, total: Option<u64>, unit: &'static str) -> StageLine {
        self.work(stage.name(), total, unit)
    }

    /// Begins the line of a command that is not a stage of a run.
    pub fn work(&self, stage: &'static str, total: Option<u64>, unit: &'static str) -> StageLine {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let bar = if self.mode == Mode::Bars { self.bars.add(bar) } else { bar };
        let template = match total {
            Some(_) => "{prefix:9} {bar:28} {pos}/{len} {unit}{pace} {msg}",
            None => "{prefix:9} {spinner} {msg}",
        };
        let pace = Arc::new(Mutex::new(Pace::default()));
        if let Ok(style) = ProgressStyle::with_template(&template.replace("{unit}", unit)) {
            let pace = pace.clone();
            let told = move |_: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                out.write_str(&pace_text(&pace.lock().unwrap_or_else(PoisonError::into_inner), total, unit)).ok();
            };
            bar.set_style(style.progress_chars("━╸ ").with_key("pace", told));
        }
        bar.set_prefix(stage);
        self.event(json!({"event": "stage_started", "stage": stage, "total": total, "unit": unit}));
        let shown = Mutex::new(Instant::now());
        let (done, start) = (AtomicU64::new(0), Instant::now());
        StageLine { ui: self.clone(), stage, bar, unit, total, done, pace, shown, start }
    }

    /// Begins the line of a download of the file `name`; the line ends when it is dropped.
    pub fn transfer(&self, name: &str) -> Transfer {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let bar = if self.mode == Mode::Bars { self.bars.add(bar) } else { bar };
        let template = "{prefix} {bar:28} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(name.to_string());
        Transfer { ui: self.clone(), bar, name: name.to_string(), start: None, shown: Instant::now() }
    }
}

/// Shows in `ui` the search and the download of weights; stops when the user asks for it.
pub fn shown_in(ui: &Ui) -> impl FnMut(store::Progress<'_>) -> ControlFlow<()> {
    let ui = ui.clone();
    let mut transfer: Option<Transfer> = None;
    move |progress| {
        match progress {
            store::Progress::Note(text) => ui.note(text),
            store::Progress::Bytes { name, done, total } => {
                transfer.get_or_insert_with(|| ui.transfer(name)).at(done, total);
            }
            store::Progress::Waiting => {}
        }
        if ui.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The progress line of a download.
#[derive(Debug)]
pub struct Transfer {
    ui: Ui,
    bar: ProgressBar,
    name: String,
    /// The time of the first call of `at`, and the number of bytes downloaded before.
    start: Option<(Instant, u64)>,
    shown: Instant,
}

impl Transfer {
    /// Shows that `done` of `total` bytes are downloaded.
    pub fn at(&mut self, done: u64, total: Option<u64>) {
        let first = self.start.is_none();
        let (start, before) = *self.start.get_or_insert_with(|| (Instant::now(), done));
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        if first {
            // Bytes of an earlier download do not count for the speed.
            self.bar.reset_eta();
        }
        if !matches!(self.ui.mode, Mode::Plain | Mode::Json) || self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        let rate = done.saturating_sub(before) as f64 / start.elapsed().as_secs_f64();
        let left = total.map(|total| total.saturating_sub(done) as f64 / rate).filter(|left| left.is_finite());
        if self.ui.mode == Mode::Json {
            let fields = json!({"event": "download", "name": self.name, "done": done, "total": total, "unit": "bytes",
                "per_s": rate, "eta_s": left});
            return self.ui.json(fields);
        }
        let of = total.map_or(String::new(), |total| format!(" of {}", bytes(total)));
        let eta = left.map_or(String::new(), |seconds| format!(", {} left", duration(seconds)));
        self.ui.line(&format!("{}: {}{of}, {}/s{eta}", self.name, bytes(done), bytes(rate as u64)));
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The progress line of a stage, which its threads share.
#[derive(Debug)]
pub struct StageLine {
    ui: Ui,
    stage: &'static str,
    bar: ProgressBar,
    unit: &'static str,
    total: Option<u64>,
    done: AtomicU64,
    pace: Arc<Mutex<Pace>>,
    shown: Mutex<Instant>,
    start: Instant,
}

impl StageLine {
    /// Counts `n` more units as done.
    pub fn inc(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now(), done);
        self.bar.inc(n);
        if matches!(self.ui.mode, Mode::Plain | Mode::Json) {
            self.maybe_print(done);
        }
    }

    /// Sets the text at the end of the line.
    pub fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Returns the output that this line belongs to.
    pub fn ui(&self) -> &Ui {
        &self.ui
    }

    fn maybe_print(&self, done: u64) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.elapsed() < EVERY {
            return;
        }
        *shown = Instant::now();
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let (stage, unit) = (self.stage, self.unit);
        if self.ui.mode == Mode::Json {
            let fields = json!({"event": "progress", "stage": stage, "done": done, "total": self.total, "unit": unit,
                "per_s": pace.rate(), "eta_s": self.total.and_then(|total| pace.left(total))});
            return self.ui.json(fields);
        }
        let of = self.total.map_or(String::new(), |total| format!("/{total}"));
        let head = format!("{stage:9}");
        self.ui.line(&format!(
            "{} {done}{of} {unit}{}",
            self.ui.colours.head(&head),
            pace_text(&pace, self.total, unit)
        ));
    }

    /// Ends the line of a stage that is done; `text` describes its result.
    pub fn finish(self, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        match self.ui.mode {
            Mode::Quiet => {}
            Mode::Json => self.ui.json(json!({"event": "stage_done", "stage": self.stage, "seconds": seconds,
                "result": text})),
            _ => {
                let (head, text) = (format!("{:9}", self.stage), printable_lines(text));
                self.ui.line(&format!("{} {text} ({})", self.ui.colours.head(&head), duration(seconds)));
            }
        }
    }
}

/// Removes the bar of a stage that ended without a result.
impl Drop for StageLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns `, 203.1 images/s, 12 s left`; the parts that are not known yet are left out.
fn pace_text(pace: &Pace, total: Option<u64>, unit: &str) -> String {
    let rate = pace.rate().map_or(String::new(), |rate| format!(", {rate:.1} {unit}/s"));
    let left = total.and_then(|total| pace.left(total)).map(duration);
    left.map_or(rate.clone(), |left| format!("{rate}, {left} left"))
}

/// Formats a count as `1 image` or `2000 images`.
pub fn plural(n: usize, unit: &str) -> String {
    format!("{n} {}", units(n, unit))
}

/// Returns the form of a unit for the number `n`: `image`, `images`; `class`, `classes`; `copy`, `copies`.
pub fn units(n: usize, unit: &str) -> String {
    match unit.strip_suffix('y') {
        _ if n == 1 => unit.to_string(),
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with("ss") => format!("{unit}es"),
        None => format!("{unit}s"),
    }
}

/// Formats a duration as `0.4 s`, `12 s`, `3 min 05 s` or `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3599.5 => format!("{} min {:02} s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => format!("{} h {:02} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let texts = [0.04, 9.94, 9.96, 59.4, 59.6, 185.0, 7800.0].map(duration);
        assert_eq!(texts, ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]);
    }

    #[test]
    fn one_is_not_many() {
        let texts = [(0, "image"), (1, "test image"), (2000, "row group"), (2, "class"), (2, "copy")];
        let texts = texts.map(|(n, unit)| plural(n, unit));
        assert_eq!(texts, ["0 images", "1 test image", "2000 row groups", "2 classes", "2 copies"]);
    }

    #[test]
    fn a_raised_flag_stops_the_run() {
        let stop = Arc::new(AtomicBool::new(false));
        let ui = Ui::new(Style::Quiet, stop.clone());
        assert!(ui.check().is_ok());
        stop.store(true, Ordering::Relaxed);
        assert!(ui.check().is_err());
    }
}
