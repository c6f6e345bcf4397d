//! Checks that types cannot express: ranges, combinations and names. Makes the checked [`Pipeline`].

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use globset::Glob;

use super::extract::{Calibration, Extract};
use super::input::{Columns, Input, Label, LimitPerClass, Split};
use super::output::{NO_CACHE, Output};
use super::pipeline::{Pipeline, Reduce, Scale, Score, Select};
use super::runtime::Runtime;
use super::source::Source;
use super::{ConfigError, Features, VERSION, Weights, ranges, raw};
use crate::image::{RecipeError, RecipeOverrides};
use crate::learn::hyperparameters::ParamError;
use crate::learn::pca::{Components, PcaParams, SvdParams};
use crate::stages::scan::is_table;

mod train;

type Checked<T = ()> = Result<T, ConfigError>;

/// Checks the whole pipeline, in the order of the reference.
pub fn pipeline(mut raw: raw::Pipeline, source: Source) -> Checked<Pipeline> {
    if raw.version != VERSION {
        let message = format!("this featurize reads version {VERSION}, found version {}", raw.version);
        return wrong(&source, "version", message);
    }
    let name = name(raw.name, &source)?;
    let input = input(raw.input, &source)?;
    whole(&source, "image.max_pixels", raw.image.max_pixels, 1..=ranges::PIXELS)?;
    let extract = extract(raw.extract, &source)?;
    if let Some(select) = &raw.select {
        check_select(select, &input, &source)?;
    }
    if let Some(reduce) = &raw.reduce {
        check_reduce(reduce, &source)?;
    }
    if let Some(train) = &mut raw.train {
        train::check(train, &source)?;
        if input.label == Label::None && !matches!(input.split, Split::Csv { .. }) {
            let message =
                "`train` needs classes, and `input.label` is `none`; write `label: folder` or leave `train` out";
            return wrong(&source, "input.label", message);
        }
    }
    if let Some(report) = &raw.report {
        whole(&source, "report.samples", report.samples, 0..=ranges::SAMPLES)?;
    }
    let output = output(raw.output, raw.reduce.as_ref(), &source)?;
    let runtime = runtime(raw.runtime, &extract, &source)?;
    let file = source.file().to_owned();
    Ok(Pipeline {
        file,
        name,
        input,
        image: raw.image,
        extract,
        select: raw.select,
        reduce: raw.reduce,
        train: raw.train,
        report: raw.report,
        output,
        runtime,
        source,
    })
}

/// An error with this message at the value of `key`.
fn wrong<T>(source: &Source, key: &str, message: impl Into<String>) -> Checked<T> {
    Err(ConfigError::at_key(source, key, message))
}

/// An error "`key`: expected …, found `…`" at the value of `key`.
fn expected<T>(source: &Source, key: &str, wanted: &str, found: impl Display) -> Checked<T> {
    wrong(source, key, format!("`{key}`: expected {wanted}, found `{found}`"))
}

/// Checks that `value`, the value of `key`, is in `range`.
fn whole<N: PartialOrd + Display>(source: &Source, key: &str, value: N, range: RangeInclusive<N>) -> Checked {
    if range.contains(&value) {
        return Ok(());
    }
    let wanted = format!("a whole number from {} to {}", range.start(), range.end());
    expected(source, key, &wanted, value)
}

/// Converts the error about a hyperparameter of `section` to one about the key that the user wrote, which may be an
/// alias.
fn check_params(checked: Result<(), ParamError>, section: &str, aliases: &[(&str, &str)], source: &Source) -> Checked {
    let (key, wanted, found) = match checked {
        Ok(()) => return Ok(()),
        Err(ParamError::Combination { key, reason, change }) => {
            let message = format!("`{section}.{key}` {reason}");
            return wrong(source, &format!("{section}.{change}"), message);
        }
        Err(ParamError::Range { key, expected, found }) => (key, expected, found),
    };
    let (name, entry) = key.split_at(key.find(['[', '.']).unwrap_or(key.len()));
    let alias = aliases.iter().find(|(field, alias)| *field == name && source.has(&format!("{section}.{alias}")));
    let name = format!("{section}.{}", alias.map_or(name, |(_, alias)| alias));
    // a single number may stand for a list
    let key = if entry.starts_with('[') && !source.has(&format!("{name}{entry}")) { name } else { name + entry };
    expected(source, &key, &wanted, found)
}

fn name(written: Option<String>, source: &Source) -> Checked<String> {
    let from_file = written.is_none();
    let name = match written {
        Some(name) => name,
        None => source.file().file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    // names that Windows forbids are refused on every system, since runs are copied between machines
    let refused = |c: char| c.is_control() || "/\\:*?\"<>|\u{fffd}".contains(c);
    let usable = !name.is_empty()
        && name.len() <= 200
        && !name.contains(refused)
        && !name.starts_with([' ', '.'])
        && !name.ends_with([' ', '.']);
    if usable {
        return Ok(name);
    }
    let wanted = "a name usable for a folder (no / \\ : * ? \" < > |, no space or dot at either end)";
    if from_file {
        let message = format!("the file's name `{name}` is not {wanted}; write `name: NAME` in the pipeline");
        return wrong(source, "name", message);
    }
    expected(source, "name", wanted, name)
}

fn input(raw: raw::Input, source: &Source) -> Checked<Input> {
    let mut root = path("input.root", &raw.root, source)?;
    let named = raw.parquet.iter().flat_map(|one| [("image", &one.image), ("label", &one.label), ("path", &one.path)]);
    if let Some((name, _)) = { named }.find(|(_, column)| column.as_deref() == Some("")) {
        return expected(source, &format!("input.parquet.{name}"), "the name of a column", "");
    }
    let mut split = split(raw.split, source)?;
    if is_table(&root)
        && let Split::None | Split::Fraction { .. } = split
    {
        // a table as `root` is short for its folder and `split: {csv: …}`
        let (fraction, seed) =
            if let Split::Fraction { fraction, seed } = split { (Some(fraction), seed) } else { (None, 0) };
        let folder = root.parent().filter(|folder| *folder != "").unwrap_or(Path::new(".")).to_path_buf();
        split = Split::Csv { path: std::mem::replace(&mut root, folder), columns: Columns::default(), fraction, seed };
    }
    if let Label::Pattern(pattern) = &raw.label {
        let key = if source.has("input.label.pattern") { "input.label.pattern" } else { "input.label" };
        check_pattern(key, pattern, source)?;
    }
    if let Some(classes) = &raw.classes {
        check_classes(classes, source)?;
        if raw.label == Label::None && !matches!(split, Split::Csv { .. }) {
            let message = "`input.classes` chooses classes, and `input.label` is `none`; leave one of them out";
            return wrong(source, "input.classes", message);
        }
    }
    if let Some(LimitPerClass { train, test }) = raw.limit_per_class {
        for (key, limit, least) in [("train", train, 1), ("test", test, 0)] {
            // a single number stands for both splits
            let key = [format!("input.limit_per_class.{key}"), "input.limit_per_class".to_string()];
            let key = key.iter().find(|key| source.has(key)).unwrap_or(&key[0]);
            limit.map_or(Ok(()), |limit| whole(source, key, limit, least..=ranges::MANY))?;
        }
    }
    if !(0.0..=1.0).contains(&raw.max_bad_fraction) {
        return expected(source, "input.max_bad_fraction", "a number from 0 to 1", raw.max_bad_fraction);
    }
    Ok(Input {
        root,
        parquet: raw.parquet,
        split,
        label: raw.label,
        classes: raw.classes,
        limit_per_class: raw.limit_per_class,
        max_bad_fraction: raw.max_bad_fraction,
        follow_links: raw.follow_links,
        hash: raw.hash,
    })
}

fn split(raw: Option<raw::Split>, source: &Source) -> Checked<Split> {
    let Some(raw) = raw else {
        return Ok(Split::None);
    };
    let wrong = |key: &str, message: &str| {
        let ways = "write `{train: GLOB, test: GLOB}`, `{fraction: 0.25}` or `{csv: FILE}`, or leave `split` out";
        wrong(source, key, format!("{message}; {ways}"))
    };
    if let Some(fraction) = raw.fraction
        && !(fraction > 0.0 && fraction < 1.0)
    {
        return expected(source, "input.split.fraction", "a number between 0 and 1", fraction);
    }
    if raw.seed.is_some() && raw.fraction.is_none() {
        return wrong("input.split.seed", "`input.split.seed` is the seed of `fraction`, which is not there");
    }
    let seed = raw.seed.unwrap_or(0);
    let columns = Columns { path: raw.path, label: raw.label, split: raw.split };
    let named = [("path", &columns.path), ("label", &columns.label), ("split", &columns.split)];
    if let Some((name, _)) = named.iter().find(|(_, column)| column.is_some() && raw.csv.is_none()) {
        let message = format!("`input.split.{name}` names a column of the table `csv`, which is not there");
        return wrong(&format!("input.split.{name}"), &message);
    }
    if let Some((name, _)) = named.iter().find(|(_, column)| column.as_ref().is_some_and(String::is_empty)) {
        return expected(source, &format!("input.split.{name}"), "the name of a column", "");
    }
    match (raw.train, raw.test, raw.fraction, raw.csv) {
        (Some(train), Some(test), None, None) => {
            check_glob("input.split.train", &train, source)?;
            check_glob("input.split.test", &test, source)?;
            if train == test {
                return wrong("input.split.test", "`train` and `test` of `input.split` are the same pictures");
            }
            Ok(Split::Folders { train, test })
        }
        (None, None, Some(fraction), None) => Ok(Split::Fraction { fraction, seed }),
        (None, None, fraction, Some(csv)) => {
            Ok(Split::Csv { path: path("input.split.csv", &csv, source)?, columns, fraction, seed })
        }
        (Some(_), None, None, None) => wrong("input.split.train", "`input.split` has `train` but no `test`"),
        (None, Some(_), None, None) => wrong("input.split.test", "`input.split` has `test` but no `train`"),
        (None, None, None, None) => wrong("input.split", "`input.split` is empty"),
        (_, _, _, Some(_)) => wrong("input.split.csv", "`csv` of `input.split` does not go with `train` and `test`"),
        (_, _, Some(_), None) => {
            wrong("input.split.fraction", "`fraction` of `input.split` does not go with `train` and `test`")
        }
    }
}

fn check_pattern(key: &str, pattern: &str, source: &Source) -> Checked {
    if pattern.is_empty() {
        return expected(source, key, "a regular expression such as `(cat|dog)\\.\\d+`", pattern);
    }
    let wrong = |reason| wrong(source, key, format!("`{key}`: `{pattern}` is no regular expression: {reason}"));
    Label::regex(pattern).map_or_else(wrong, |_| Ok(()))
}

fn check_glob(key: &str, glob: &str, source: &Source) -> Checked {
    if glob.is_empty() {
        return expected(source, key, "a glob such as `Training/**`", glob);
    }
    let wrong = |error: globset::Error| wrong(source, key, format!("`{key}`: `{glob}` is no glob: {}", error.kind()));
    Glob::new(glob).map_or_else(wrong, |_| Ok(()))
}

fn check_classes(classes: &[String], source: &Source) -> Checked {
    if classes.is_empty() {
        let message = "`input.classes`: expected at least one class, found an empty list; leave it out for all classes";
        return wrong(source, "input.classes", message);
    }
    for (i, class) in classes.iter().enumerate() {
        let key = format!("input.classes[{i}]");
        if class.is_empty() {
            return expected(source, &key, "the name of a class", class);
        }
        if classes[..i].contains(class) {
            return wrong(source, &key, format!("`input.classes` has `{class}` twice"));
        }
    }
    Ok(())
}

fn extract(mut extract: Extract, source: &Source) -> Checked<Extract> {
    if let Weights::Path(file) = &extract.weights {
        extract.weights = Weights::Path(source.resolve("extract.weights", file));
    }
    if let Some(Calibration::File(file)) = &extract.calibration {
        extract.calibration = Some(Calibration::File(source.resolve("extract.calibration", file)));
    }
    if extract.weights_key.as_deref() == Some("") {
        return expected(source, "extract.weights_key", "a name", "");
    }
    if let Some(rows) = extract.shard_rows {
        whole(source, "extract.shard_rows", rows, 1..=ranges::SHARD_ROWS)?;
    }
    if let Some(rows) = extract.batch_size {
        whole(source, "extract.batch_size", rows, 1..=ranges::BATCH)?;
    }
    if let Some(Err(RecipeError { key, found, expected: wanted })) = extract.recipe.as_ref().map(RecipeOverrides::check)
    {
        return expected(source, &format!("extract.recipe.{key}"), wanted, found);
    }
    let layers = extract.layers.iter().flatten().map(|layer| ("extract.layers", layer));
    let names = [("extract.model", &extract.model)].into_iter();
    for (key, text) in names.chain(extract.layer.iter().map(|layer| ("extract.layer", layer))).chain(layers) {
        if text.is_empty() || text.contains(',') {
            return expected(source, key, "a name", format!("`{text}`"));
        }
    }
    match &extract.layers {
        Some(_) if extract.layer.is_some() => {
            wrong(source, "extract.layers", "`extract.layers` and `extract.layer` name layers both")
        }
        Some(layers) if layers.is_empty() => expected(source, "extract.layers", "at least one layer", "none"),
        Some(_) if extract.features == Features::Map => {
            let message = "`features: map` keeps the shape of one layer; take `flatten` for several";
            wrong(source, "extract.features", message)
        }
        _ => Ok(extract),
    }
}

fn check_select(select: &Select, input: &Input, source: &Source) -> Checked {
    let threshold = select.variance_threshold;
    if !(threshold.is_finite() && threshold >= 0.0) {
        return expected(source, "select.variance_threshold", "a number of at least 0", threshold);
    }
    if let Some(top) = select.top_k {
        whole(source, "select.top_k", top, 1..=ranges::MANY)?;
    }
    if select.top_k.is_none() && select.score != Score::Variance {
        let message = "`select.score` ranks the columns for `top_k`, which is not there; write `top_k: 100`";
        return wrong(source, "select.score", message);
    }
    if select.score == Score::FClassif && input.label == Label::None && !matches!(input.split, Split::Csv { .. }) {
        let message = "`f_classif` compares classes, and `input.label` is `none`; take `score: variance`";
        return wrong(source, "select.score", message);
    }
    Ok(())
}

fn check_reduce(reduce: &Reduce, source: &Source) -> Checked {
    if let Some(pca) = &reduce.pca {
        check_params(pca.check(), "reduce.pca", &[], source)?;
    }
    if let Some(svd) = &reduce.svd {
        check_params(svd.check(), "reduce.svd", SvdParams::ALIASES, source)?;
    }
    let (key, message) = match (&reduce.pca, &reduce.svd, reduce.scale) {
        (Some(_), Some(_), _) => ("reduce.svd", "`reduce` has `pca` and `svd` both; leave one of them out"),
        (None, None, Scale::None) => {
            ("reduce", "`reduce` has nothing to do; write `reduce: {pca: {}}`, or leave `reduce` out")
        }
        _ => return Ok(()),
    };
    wrong(source, key, message)
}

fn output(mut output: Output, reduce: Option<&Reduce>, source: &Source) -> Checked<Output> {
    let components = reduce.map_or(0, |reduce| match (&reduce.pca, reduce.svd) {
        (Some(PcaParams { components: Components::Count(count), .. }), _) => *count,
        (None, Some(svd)) => svd.components,
        (pca, None) => 2 * usize::from(pca.is_some()),
        (Some(_), Some(_)) => 2,
    });
    if output.atlas && components < 2 {
        let message = "`output.atlas` draws the first two components; write `reduce: {pca: {}}`";
        return wrong(source, "output.atlas", message);
    }
    if let Some(dir) = &output.dir {
        output.dir = Some(path("output.dir", dir, source)?);
    }
    if let Some(cache) = output.cache.as_ref().filter(|cache| **cache != Path::new(NO_CACHE)) {
        output.cache = Some(path("output.cache", cache, source)?);
    }
    Ok(output)
}

fn runtime(mut runtime: Runtime, extract: &Extract, source: &Source) -> Checked<Runtime> {
    whole(source, "runtime.batch_size", runtime.batch_size, 1..=ranges::BATCH)?;
    if let Some(threads) = runtime.threads {
        whole(source, "runtime.threads", threads, 1..=ranges::THREADS)?;
    }
    whole(source, "runtime.requests", runtime.requests, 1..=ranges::THREADS)?;
    if let Some(rows) = extract.batch_size {
        if source.has("runtime.batch_size") && rows != runtime.batch_size {
            let message = format!(
                "`extract.batch_size` is {rows} and `runtime.batch_size` is {}, and both are the same setting; \
                 leave one out",
                runtime.batch_size
            );
            return wrong(source, "extract.batch_size", message);
        }
        runtime.batch_size = rows;
    }
    Ok(runtime)
}

fn path(key: &str, written: &Path, source: &Source) -> Checked<std::path::PathBuf> {
    if written.as_os_str().is_empty() {
        return wrong(source, key, format!("`{key}`: expected a path, found an empty text"));
    }
    Ok(source.resolve(key, written))
}
