//! Runs the nine stages in order. A result that was committed with the current fingerprint is not computed again.

mod forget;
mod keys;
mod run_json;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::io::IoError;
use crate::memory;
pub use crate::memory::peak_mb as peak_memory_mb;
use crate::plan::Plan;
use crate::progress::Ui;
pub use crate::stage::Options;
use crate::stage::StageId;
use crate::stages::atlas::{self, Drawn};
use crate::stages::compare::{self, Compared};
use crate::stages::evaluate::{self, Evaluated};
use crate::stages::extract::{self, Extracted};
use crate::stages::reduce::{self, Reduced};
use crate::stages::report::{self, Reported};
use crate::stages::rows::{Shards, Source};
use crate::stages::scan::{self, Keep, Listing, Split};
use crate::stages::select::{self, Selected};
use crate::stages::train::{self, TrainError, Trained};
use crate::store::{Claims, Lock, OutputFile, Owner, Record, StoreError, Writes};
pub use keys::Keys;

/// The results of a run, and which of them it computed.
#[derive(Debug)]
pub struct Outcome {
    pub listing: Listing,
    /// Whether the manifest of the listing was rewritten.
    pub listed: bool,
    pub extracted: Option<Extracted>,
    pub selected: Option<Selected>,
    pub reduced: Option<Reduced>,
    pub trained: Option<Trained>,
    pub evaluated: Option<Evaluated>,
    pub compared: Option<Compared>,
    pub drawn: Option<Drawn>,
    pub reported: Option<Reported>,
    /// The stages that were computed in this run.
    pub computed: Vec<StageId>,
    /// Seconds of each stage when it was last computed.
    pub seconds: Vec<(StageId, f64)>,
    /// The peak memory of each stage when it was last computed, in MB; empty where the system does not report it.
    pub memory: Vec<(StageId, u64)>,
}

/// Runs the plan. If a file of the run turns out to be damaged, its stage is computed again, once.
pub fn run(plan: &Plan, options: &Options, ui: &Ui) -> Result<Outcome, Error> {
    run_on(plan, None, options, ui)
}

/// Runs the plan with the listing of another run with the same `input`, if that listing is in memory.
pub fn run_on(plan: &Plan, listed: Option<&Listing>, options: &Options, ui: &Ui) -> Result<Outcome, Error> {
    let listed = listed.filter(|listing| listing.stored.is_none());
    let lock = Lock::take(&plan.dir)?;
    Owner::of(&plan.dir).check_name(&plan.pipeline.name)?;
    let mut given_up = BTreeSet::new();
    loop {
        let error = match attempt(plan, listed, options, &lock, ui) {
            Err(error) => error,
            done => return done,
        };
        let Some(path) = error.damaged().map(Path::to_path_buf) else { return Err(error) };
        match forget::stage_of(&plan.dir, &path) {
            Some(stage) if given_up.insert(path.clone()) => forget::damaged(plan, stage, &path, ui)?,
            _ => return Err(error),
        }
    }
}

fn attempt(plan: &Plan, listed: Option<&Listing>, options: &Options, lock: &Lock, ui: &Ui) -> Result<Outcome, Error> {
    let start = Instant::now();
    // with `--until scan`, the pictures are always listed
    let anew = options.rescan || options.until == Some(StageId::Scan);
    let keep: Keep<Error> = &mut |large| Ok(extract::draft(plan, large, ui)?);
    // the search for copies needs all pictures in memory
    let is_kept = lock.writable().is_ok() && !plan.pipeline.input.hash;
    let mut listing = match listed {
        Some(listing) => listing.clone(),
        None => scan::run(plan, anew, is_kept.then_some(keep), ui)?,
    };
    extract::resolve(plan, &mut listing, ui)?.remember();
    let scanned = start.elapsed().as_secs_f64();
    check(plan, &listing, options.until, ui)?;
    extract::settle_ranges(plan, &listing, options, ui)?;
    let keys = Keys::of(plan, &listing)?;
    let (computed, seconds, memory, checked) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
    let claims = Claims::default();
    let mut run = Run { plan, options, ui, keys, lock, claims, listed: false, computed, seconds, memory, checked };
    run.claim(&listing)?;
    run.forget_what_is_not_asked_for(&listing)?;
    run.seconds.push((StageId::Scan, scanned));
    run.list(&mut listing, scanned)?;
    let config = &plan.pipeline;

    let reused = run.claims.reused;
    let extracted = run.stage(StageId::Extract, |keys| {
        let (done, files) = extract::run(plan, &mut listing, options, ui)?;
        // the fingerprint covers the contents of the pictures, which are known only after the extraction
        *keys = Keys::of(plan, &listing)?;
        Ok::<_, Error>((Extracted { reused, ..done }, files))
    })?;
    run.confirm_listing(extracted.is_some())?;
    let (count, train_rows) = extracted.as_ref().map_or((0, 0), |done| (done.shards, done.train_rows));
    let tables = Record::read(&plan.dir, StageId::Extract).map_or_else(Vec::new, |record| record.files);
    let shards = &Shards::of(&plan.dir, count, &tables);
    let classes = &listing.classes;
    let selected = run.optional(StageId::Select, config.select.as_ref(), |settings| {
        select::run(plan, settings, (shards, train_rows), classes, ui)
    })?;
    if selected.is_some() {
        run.check(StageId::Select)?;
    }
    let kept = selected.as_ref().map(|_| select::kept(&plan.dir)).transpose()?;
    let kept = kept.as_deref();
    let input = reduce::Input { shards, train_rows, kept, classes };
    let reduced = run.optional(StageId::Reduce, config.reduce.as_ref(), |one| reduce::run(plan, one, input, ui))?;
    let table = reduced.as_ref().map(|_| plan.dir.reduced());
    let source = Source { shards, kept, reduced: table.as_deref() };
    let trained =
        run.optional(StageId::Train, config.train.as_ref(), |one| train::run(plan, one, source, classes, ui))?;
    let evaluated =
        run.optional(StageId::Evaluate, trained.as_ref(), |one| evaluate::run(plan, source, classes, one, ui))?;
    let compared = run.optional(StageId::Compare, extracted.as_ref(), |extracted| {
        compare::run(plan, &listing, extracted, shards, ui)
    })?;
    let drawn =
        run.optional(StageId::Atlas, config.output.atlas.then_some(&()), |()| atlas::run(plan, &listing, ui))?;
    let (computed, seconds, memory) = (run.computed.clone(), run.seconds.clone(), run.memory.clone());
    let mut outcome = Outcome {
        listing,
        listed: run.listed,
        extracted,
        selected,
        reduced,
        trained,
        evaluated,
        compared,
        drawn,
        reported: None,
        computed,
        seconds,
        memory,
    };
    let settings = config.report.as_ref();
    outcome.reported = run.optional(StageId::Report, settings, |one| report::run(plan, one, &outcome, ui))?;
    (outcome.computed, outcome.seconds) = (run.computed.clone(), run.seconds.clone());
    outcome.memory.clone_from(&run.memory);
    run.tell()?;
    Ok(outcome)
}

/// Returns errors that are known once the pictures are listed, before hours of extraction. Stages after `until` are not
/// checked.
pub fn check(plan: &Plan, listing: &Listing, until: Option<StageId>, ui: &Ui) -> Result<(), Error> {
    let config = &plan.pipeline;
    let asked = |stage| until.is_none_or(|until| stage <= until);
    let select = config.select.as_ref().filter(|_| asked(StageId::Select));
    let reduce = config.reduce.as_ref().filter(|_| asked(StageId::Reduce));
    let train = config.train.as_ref().filter(|_| !listing.classes.is_empty());
    if let Some(settings) = train {
        train::check_class_weights(config, settings, &listing.classes)?;
        train::check_start(plan, &listing.classes)?;
    }
    let train = train.filter(|_| asked(StageId::Train));
    if select.is_some() || reduce.is_some() || train.is_some() {
        scan::check_train(config, listing)?;
    }
    if let Some(settings) = select {
        select::check_rows(settings, &listing.counts(Split::Train))?;
    }
    if let Some(settings) = reduce {
        reduce::check_rows(settings, listing.len_of(Split::Train), plan.width(), config.select.is_some())?;
    }
    let Some(settings) = train else { return Ok(()) };
    train::check_rows(settings, listing, ui)?;
    train::check_memory(plan, settings, listing.len_of(Split::Train), listing.classes.len())
        .map_err(TrainError::from)?;
    Ok(())
}

struct Run<'a> {
    plan: &'a Plan,
    options: &'a Options,
    ui: &'a Ui,
    keys: Keys,
    lock: &'a Lock,
    claims: Claims,
    /// Whether the manifest was rewritten.
    listed: bool,
    computed: Vec<StageId>,
    seconds: Vec<(StageId, f64)>,
    memory: Vec<(StageId, u64)>,
    /// The stages whose files were compared with their committed hashes.
    checked: BTreeSet<StageId>,
}

impl Run<'_> {
    /// The stages up to `until`, in order.
    fn asked(&self) -> impl Iterator<Item = StageId> + '_ {
        self.keys.stages().filter(|stage| self.options.until.is_none_or(|until| *stage <= until))
    }

    /// True if the stage must be computed even if it is committed. With `retry_failed` this holds for all stages, since
    /// further pictures may change all results.
    fn is_forced(&self, stage: StageId) -> bool {
        self.options.force.is_some_and(|force| stage == force || stage.follows(force)) || self.options.retry_failed
    }

    /// Returns an error if a file of `stage` does not have its committed hash. Feature tables are checked when they are
    /// read, and files that no stage reads are not checked.
    fn check(&mut self, stage: StageId) -> Result<(), IoError> {
        let dir = &self.plan.dir;
        let unread = [dir.features(), dir.npy(), dir.index()];
        let is_read = |file: &&OutputFile| !unread.iter().any(|path| dir.root().join(&file.file).starts_with(path));
        if self.checked.insert(stage) && !self.computed.contains(&stage) {
            let files = Record::read(dir, stage).map_or_else(Vec::new, |record| record.files);
            files.iter().filter(is_read).try_for_each(|file| file.check(dir))?;
        }
        Ok(())
    }

    /// Records the names of the files that will be written, before the first one is. It is an error if a file with one
    /// of these names does not belong to the run.
    fn claim(&mut self, listing: &Listing) -> Result<(), Error> {
        let (plan, owner) = (self.plan, Owner::of(&self.plan.dir));
        let is_due =
            |stage| stage != StageId::Scan && self.is_forced(stage) || self.keys.committed(plan, stage).is_none();
        let due: Vec<StageId> = self.asked().filter(|stage| is_due(*stage)).collect();
        if due.is_empty() && owner.leftovers().is_empty() {
            return Ok(());
        }
        let shards = extract::count(plan, listing);
        let mut writes: Writes = self.asked().map(|stage| (stage, plan.writes(stage, shards))).collect();
        owner.check(&writes, &due, &|path| extract::is_table(&plan.dir, path))?;
        self.lock.writable()?;
        // unlike tables, other files of an earlier extraction are not recognised by their contents
        let before = Record::read(&plan.dir, StageId::Extract).filter(|_| due.contains(&StageId::Extract));
        for output in before.into_iter().flat_map(|record| record.files) {
            writes.entry(StageId::Extract).or_default().push(output.file);
        }
        writes.values_mut().for_each(|names| names.sort());
        writes.values_mut().for_each(Vec::dedup);
        let extraction = extract::task(plan, listing)?;
        let known = owner.claims().filter(|claims| claims.extraction == extraction);
        let goes_on = owner.in_flight() == Some(StageId::Extract) && !self.is_forced(StageId::Extract);
        let reused = match known {
            Some(claims) if goes_on || !due.contains(&StageId::Extract) => claims.reused,
            _ if due.contains(&StageId::Extract) => extract::reused(plan, listing, self.options)?,
            _ => 0,
        };
        self.claims = Claims { name: plan.pipeline.name.clone(), writes, extraction, reused };
        Ok(owner.claim(&self.claims).map_err(StoreError::from)?)
    }

    /// Runs a stage if the `input` that it needs exists.
    fn optional<I, T: Serialize + DeserializeOwned, E>(
        &mut self,
        stage: StageId,
        input: Option<&I>,
        work: impl FnOnce(&I) -> Result<(T, Vec<OutputFile>), E>,
    ) -> Result<Option<T>, Error>
    where
        Error: From<E>,
    {
        input.map_or(Ok(None), |input| self.stage(stage, |_| work(input)))
    }

    /// Opens the committed result of the stage, or computes and commits it. None if the stage is not asked for.
    fn stage<T, E>(
        &mut self,
        stage: StageId,
        work: impl FnOnce(&mut Keys) -> Result<(T, Vec<OutputFile>), E>,
    ) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        Error: From<E>,
    {
        let Some((key, settings)) = self.keys.get(stage).map(|(key, settings)| (key.to_string(), settings.clone()))
        else {
            return Ok(None);
        };
        if self.options.until.is_some_and(|until| stage > until) {
            return Ok(None);
        }
        if !self.is_forced(stage)
            && let Some(record) = self.keys.committed(self.plan, stage)
            && let Ok(result) = serde_json::from_value(record.result)
        {
            self.seconds.push((stage, record.seconds));
            self.memory.extend(record.peak_memory_mb.map(|peak| (stage, peak)));
            self.ui
                .detail(&format!("{:9} reused: settings, input and files are those that it committed", stage.name()));
            return Ok(Some(result));
        }
        let why = self.keys.why(self.plan, stage, self.computed.iter().copied().find(|&above| stage.follows(above)));
        let why = why.unwrap_or_else(|| "to run: `--force` or `--retry-failed` asks for it".to_string());
        self.ui.detail(&format!("{:9} {why}", stage.name()));
        self.ui.check()?;
        StageId::ALL.into_iter().filter(|&above| stage.follows(above)).try_for_each(|above| self.check(above))?;
        self.lock.writable()?;
        // files of earlier settings may not be written again, so they are deleted
        forget::stage(self.plan, stage, self.ui)?;
        memory::restart();
        let start = Instant::now();
        let (result, files) = work(&mut self.keys)?;
        let key = self.keys.get(stage).map_or(key, |(key, _)| key.to_string());
        let seconds = start.elapsed().as_secs_f64();
        let value = serde_json::to_value(&result)?;
        let stage_name = stage.name().to_string();
        let peak_memory_mb = memory::peak_since_restart_mb();
        let record =
            Record { stage: stage_name, fingerprint: key, settings, files, result: value, seconds, peak_memory_mb };
        record.write(&self.plan.dir, stage).map_err(StoreError::from)?;
        self.computed.push(stage);
        self.seconds.push((stage, seconds));
        self.memory.extend(peak_memory_mb.map(|peak| (stage, peak)));
        Ok(Some(result))
    }

    /// Commits the listing, and writes the manifest of the listed pictures, which the extraction replaces later.
    fn list(&mut self, listing: &mut Listing, seconds: f64) -> Result<(), Error> {
        let dir = &self.plan.dir;
        let known = |stage| self.keys.committed(self.plan, stage).is_some();
        // a read-only run is listed at every start
        if self.lock.writable().is_ok() {
            extract::keep_listing(self.plan, listing, &[])?;
            extract::note_ranges(self.plan)?;
        }
        if known(StageId::Scan) && (known(StageId::Extract) || dir.manifest().exists()) {
            return Ok(());
        }
        self.lock.writable()?;
        self.listed = !known(StageId::Extract);
        if self.listed {
            extract::list(self.plan, listing)?;
        }
        let (stage, fingerprint) = (StageId::Scan.name().to_string(), listing.fingerprint());
        let (settings, files, result) = (Value::Null, Vec::new(), Value::Null);
        let record = Record { stage, fingerprint, settings, files, result, seconds, peak_memory_mb: None };
        Ok(record.write(dir, StageId::Scan).map_err(StoreError::from)?)
    }

    /// Commits the listing again, with the contents of pictures that the extraction has read.
    fn confirm_listing(&self, extracted: bool) -> Result<(), Error> {
        let Some((key, _)) = self.keys.get(StageId::Scan).filter(|_| extracted) else { return Ok(()) };
        match Record::read(&self.plan.dir, StageId::Scan).filter(|record| record.fingerprint != key) {
            Some(record) => {
                let record = Record { fingerprint: key.to_string(), ..record };
                Ok(record.write(&self.plan.dir, StageId::Scan).map_err(StoreError::from)?)
            }
            None => Ok(()),
        }
    }

    /// Deletes the files of stages that are no longer configured.
    fn forget_what_is_not_asked_for(&self, listing: &Listing) -> Result<(), Error> {
        if listing.classes.is_empty() && self.plan.pipeline.train.is_some() {
            self.ui.note("no labels: the run ends after reduce; put each class in a folder of its own to train");
        }
        let gone = StageId::ALL.into_iter().filter(|&stage| self.keys.get(stage).is_none());
        for stage in gone {
            if Record::read(&self.plan.dir, stage).is_some() {
                self.lock.writable()?;
                forget::stage(self.plan, stage, self.ui)?;
            }
        }
        Ok(())
    }

    /// Writes `run.json` if it differs from the records: after a stage was computed, or if an earlier run was killed
    /// just before writing it.
    fn tell(&self) -> Result<(), Error> {
        let document = run_json::document(self.plan, &self.keys);
        if run_json::fits(&self.plan.dir, &document) {
            return Ok(());
        }
        Owner::of(&self.plan.dir).check(&Writes::new(), &[], &|_| false)?;
        self.lock.writable()?;
        Ok(crate::io::atomic::write_json(&self.plan.dir.run_json(), &document)?)
    }
}
