//! `featurize split`: a table of labels with a split that keeps near copies on one side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Args;

use super::{FetchArgs, LogArgs, PipelineArgs, usage};
use crate::config;
use crate::error::Error;
use crate::io::IoError;
use crate::io::csv_text::field;
use crate::io::features::Key;
use crate::io::output::{FileKind, Inputs, Output, Rules};
use crate::pipeline::{self, Options};
use crate::progress::{Ui, plural};
use crate::stages::StageId;
use crate::stages::compare::{Together, together};
use crate::stages::rows::Shards;
use crate::stages::scan::{Listing, Lot, Split, draw};
use crate::store::Record;
use crate::terminal::printable;

/// How the pictures are divided, and where the table goes.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Keep near copies on one side: pictures that are mutual nearest neighbours by their features, at a similarity of
    /// 0.9 and above. Features that are there are taken, others are computed.
    #[arg(long)]
    keep_together: bool,
    /// The most pictures that are kept together. A group has no more than the fraction of its class, either. Copies
    /// that are the same to the network are kept together however many there are.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "keep_together")]
    most: usize,
    /// The share of each class that becomes test.
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    fraction: f64,
    /// Seed of the random draw.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The table (CSV) with the columns `path`, `label`, `split` and `group`; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    table: PathBuf,
    /// Replace the file even if it is read here or is of another kind.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

/// Divides the pictures of the pipeline again, whatever its own split, and writes the table.
pub fn run(arguments: &PipelineArgs, options: &SplitArgs) -> Result<(), Error> {
    let SplitArgs { fraction, seed, .. } = *options;
    if !(fraction > 0.0 && fraction < 1.0) {
        return usage(format!("`--fraction {fraction}`: expected a number between 0 and 1, such as 0.25"));
    }
    let ui = options.log.ui();
    let plan = arguments.plan(&options.fetching.store, options.fetching.offline, &ui)?;
    let mut inputs = Inputs::default();
    inputs.files.push(arguments.file.clone());
    if let config::Split::Csv { path, .. } = &plan.pipeline.input.split {
        inputs.files.push(path.clone());
    }
    inputs.folders.push(plan.dir.root().to_path_buf());
    let output = Output::new(&options.table, FileKind::Csv, Rules::new(&inputs, options.overwrite))?;
    let until = Some(if options.keep_together { StageId::Extract } else { StageId::Scan });
    let outcome = pipeline::run(&plan, &Options { until, ..Options::default() }, &ui)?;
    let listing = &outcome.listing;
    let tables = Record::read(&plan.dir, StageId::Extract).map_or_else(Vec::new, |record| record.files);
    let compared = outcome.extracted.as_ref().map(|extracted| {
        let shards = Shards::of(&plan.dir, extracted.shards, &tables);
        together(&plan, listing, extracted, &shards, (options.most, fraction), &ui)
    });
    let (keys, compared) = (keys(listing)?, compared.transpose()?);
    let places: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, key)| (key.path.as_str(), i)).collect();
    let place = |compared: &Together, i: usize| places[compared.paths[i].as_str()];
    let mut firsts: Vec<usize> = (0..keys.len()).collect();
    if let Some(compared) = &compared {
        let groups = compared.firsts.iter().enumerate();
        groups.for_each(|(i, &first)| firsts[place(compared, i)] = place(compared, first));
    }
    let (splits, groups) = divide(&keys, &firsts, fraction, seed);
    write(&output, &keys, &splits, &groups)?;
    let tests = splits.iter().filter(|split| **split == Split::Test).count();
    let (all, lots) = (plural(keys.len(), "picture"), plural(groups.iter().max().map_or(0, |most| most + 1), "group"));
    ui.note(&format!("{all} in {lots}: {} train, {tests} test", keys.len() - tests));
    if let Some(compared) = &compared {
        let now = compared.leaks(|i| splits[place(compared, i)] == Split::Test);
        let before = compared.leaks(|i| keys[place(compared, i)].split.as_deref() == Some(Split::Test.word()));
        let of = plural(tests, "test picture");
        ui.note(&format!("near copies in train: of {now} of {of}; with the split of the pipeline of {before}"));
    }
    warn_of_untested(&keys, &splits, &ui);
    Ok(())
}

/// Every picture of the listing with its split in the pipeline.
fn keys(listing: &Listing) -> Result<Vec<Key>, IoError> {
    let mut keys = Vec::with_capacity(listing.len());
    for part in listing.parts() {
        keys.extend(listing.part(&part)?.0.pictures.iter().map(|picture| Key {
            path: picture.path.clone(),
            label: picture.label.as_deref().map(str::to_string),
            split: Some(picture.split.word().to_string()),
        }));
    }
    Ok(keys)
}

/// The split and the group number of each picture; `firsts` has the first picture of each one's group.
fn divide(keys: &[Key], firsts: &[usize], fraction: f64, seed: u64) -> (Vec<Split>, Vec<usize>) {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    firsts.iter().for_each(|&first| *sizes.entry(first).or_default() += 1);
    let lot = |(&first, &pictures): (&usize, &usize)| {
        let Key { path, label, .. } = &keys[first];
        Lot { path, label: label.as_deref(), pictures }
    };
    let drawn = draw(fraction, seed, &sizes.iter().map(lot).collect::<Vec<_>>());
    let numbers: HashMap<usize, usize> = sizes.into_keys().zip(0..).collect();
    firsts.iter().map(|first| (drawn[numbers[first]], numbers[first])).unzip()
}

/// Warns of classes without test pictures, since all pictures of such a class may be in one group.
fn warn_of_untested(keys: &[Key], splits: &[Split], ui: &Ui) {
    let classes: BTreeSet<&str> = keys.iter().filter_map(|key| key.label.as_deref()).collect();
    let tested = keys.iter().zip(splits).filter(|(_, split)| **split == Split::Test);
    let tested: BTreeSet<&str> = tested.filter_map(|(key, _)| key.label.as_deref()).collect();
    let untested: Vec<&str> = classes.difference(&tested).copied().collect();
    if !untested.is_empty() {
        let names = printable(&untested.join(", ")).into_owned();
        ui.warn(&format!("no picture of {names} is in test: there is one group of them alone, or one picture"));
    }
}

fn write(output: &Output, keys: &[Key], splits: &[Split], groups: &[usize]) -> Result<(), Error> {
    output.write::<Error>(|to| {
        let failed = IoError::write(output.path());
        writeln!(to, "path,label,split,group").map_err(&failed)?;
        for ((Key { path, label, .. }, split), group) in keys.iter().zip(splits).zip(groups) {
            let (path, label) = (field(path), field(label.as_deref().unwrap_or_default()));
            writeln!(to, "{path},{label},{},{group}", split.word()).map_err(&failed)?;
        }
        Ok(())
    })
}
