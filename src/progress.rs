//! What the user sees while a run works: one line a stage, on a terminal as a bar, elsewhere as plain lines or JSON; and the wish to stop.

mod pace;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::stage::StageId;
use crate::terminal::{Colours, printable_json, printable_lines};
use pace::Pace;

/// Seconds between two plain progress lines.
const EVERY: Duration = Duration::from_secs(5);

/// How the run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Only errors and the result.
    Quiet,
    /// One JSON object a line on standard error.
    Json,
}

/// The run was asked to stop (Ctrl-C).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Bars,
    Plain,
    Quiet,
    Json,
}

/// The user's window on a run.
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
    /// Shows a run in `style`; `stop` is raised by whoever wants it to end.
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

    /// The same window, which shows [`detail`](Self::detail)s, too, if they are `wanted`.
    pub fn with_details(self, wanted: bool) -> Self {
        Self { details: wanted, ..self }
    }

    /// For tests and for the library: shows nothing, never stops.
    pub fn silent() -> Self {
        Self::new(Style::Quiet, Arc::default())
    }

    /// True once somebody wants the run to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error once somebody wants the run to end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.stopped() { Err(Interrupted) } else { Ok(()) }
    }

    /// What was decided and why, for those who asked to be told.
    pub fn detail(&self, text: &str) {
        if self.details {
            self.say("detail", text);
        }
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        self.say("note", text);
    }

    /// Something that the user should look at.
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

    /// A record for machines: shown with `--log json` only.
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
        // standard error may be closed; there is nobody left to tell
        self.bars.suspend(|| writeln!(std::io::stderr().lock(), "{text}").ok());
    }

    /// A line on standard error, however the rest is shown.
    pub fn tell(&self, text: &str) {
        self.line(&printable_lines(text));
    }

    /// Runs `print`, which may write to the terminal that the bars are on.
    pub fn beside_bars<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Begins a stage of `total` units (`images`, `epochs`), or of unknown length.
    pub fn stage(&self, stage: StageId, total: Option<u64>, unit: &'static str) -> StageLine {
        self.work(stage.name(), total, unit)
    }

    /// The same for a command that is no stage of a run.
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

    /// Begins to show how a file called `name` comes here; ends when it is dropped.
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

/// The line of a file on its way here.
#[derive(Debug)]
pub struct Transfer {
    ui: Ui,
    bar: ProgressBar,
    name: String,
    /// When the first bytes were told, and how many there were already.
    start: Option<(Instant, u64)>,
    shown: Instant,
}

impl Transfer {
    /// `done` bytes of `total` are here.
    pub fn at(&mut self, done: u64, total: Option<u64>) {
        let first = self.start.is_none();
        let (start, before) = *self.start.get_or_insert_with(|| (Instant::now(), done));
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        if first {
            // what was here already came with no speed
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

/// The line of one stage; shared by its threads.
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
    /// `n` more units are done.
    pub fn inc(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now(), done);
        self.bar.inc(n);
        if matches!(self.ui.mode, Mode::Plain | Mode::Json) {
            self.maybe_print(done);
        }
    }

    /// A few words at the end of the line.
    pub fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    /// The window that this line is in.
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

    /// The stage is done: `text` says what came out.
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

/// What ends without a result leaves no bar.
impl Drop for StageLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `, 203.1 images/s, 12 s left`, as far as it is known.
fn pace_text(pace: &Pace, total: Option<u64>, unit: &str) -> String {
    let rate = pace.rate().map_or(String::new(), |rate| format!(", {rate:.1} {unit}/s"));
    let left = total.and_then(|total| pace.left(total)).map(duration);
    left.map_or(rate.clone(), |left| format!("{rate}, {left} left"))
}

/// `999 B`, `1.5 kB`, `553.5 MB`, `1.2 GB`.
pub fn bytes(n: u64) -> String {
    match n {
        n if n < 1000 => format!("{n} B"),
        n if n < 1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        n if n < 1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        n => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// `1 image`, `2000 images`.
pub fn plural(n: usize, unit: &str) -> String {
    format!("{n} {}", units(n, unit))
}

/// The word for `n` of a unit: `image`, `images`; `class`, `classes`; `copy`, `copies`.
pub fn units(n: usize, unit: &str) -> String {
    match unit.strip_suffix('y') {
        _ if n == 1 => unit.to_string(),
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with("ss") => format!("{unit}es"),
        None => format!("{unit}s"),
    }
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`.
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
    fn lengths_read_well() {
        assert_eq!(
            [0, 999, 1500, 553_467_096, 1_230_000_000].map(bytes),
            ["0 B", "999 B", "1.5 kB", "553.5 MB", "1.2 GB"]
        );
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
