//! `featurize extract`: computes a part of the tables of a listed run, on one of several machines.

use std::env;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::{FetchArgs, LogArgs, PipelineArgs, print, usage};
use crate::error::Error;
use crate::progress::{Style, duration, plural};
use crate::stages::extract::{Computed, Part, Worker};
use crate::terminal::printable;

/// The part to compute and the form of the output.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The part: `3/64` is the third of 64.
    #[arg(long, value_name = "I/N", value_parser = part, required_unless_present = "shards")]
    shard: Option<Part>,
    /// The number of parts. This process takes the part of its task in an array of Slurm (SLURM_ARRAY_TASK_ID,
    /// SLURM_ARRAY_TASK_MIN) or of its index in a job of Kubernetes (JOB_COMPLETION_INDEX).
    #[arg(long, value_name = "N", conflicts_with = "shard", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

fn part(text: &str) -> Result<Part, String> {
    let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    let part = numbers.map(|(number, of)| Part { number, of });
    part.filter(|part| (1..=part.of).contains(&part.number))
        .ok_or_else(|| "expected a number and the number of parts, from `1/64` to `64/64`".to_string())
}

/// The part that the scheduler assigned to this process, from the environment variables that `value` reads.
fn scheduled(of: usize, value: impl Fn(&str) -> Option<String>) -> Result<Part, Error> {
    let number = |name: &str| -> Result<Option<usize>, Error> {
        let wrong = |text: String| Error::Usage(format!("{name} is `{text}`; a whole number was expected"));
        value(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    };
    let index = match number("SLURM_ARRAY_TASK_ID")? {
        Some(task) => Some(task.saturating_sub(number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0))),
        None => number("JOB_COMPLETION_INDEX")?,
    };
    let index = index.ok_or_else(|| {
        let text = "`--shards` takes the number of the part from SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX, and \
                    neither is set";
        Error::Usage(format!("{text}; write `--shard 1/{of}`"))
    })?;
    if index >= of {
        let text = format!("this is task {} of the array, and `--shards {of}` has no such part", index + 1);
        return usage(format!("{text}; start as many tasks as there are parts"));
    }
    Ok(Part { number: index + 1, of })
}

/// Computes the part.
pub fn run(arguments: &PipelineArgs, options: &ExtractArgs) -> Result<(), Error> {
    let start = Instant::now();
    let part = match (options.shard, options.shards) {
        (Some(part), _) => part,
        (None, shards) => scheduled(shards.unwrap_or(1) as usize, |name| env::var(name).ok())?,
    };
    let ui = options.log.ui();
    let plan = arguments.plan(&options.fetching.store, options.fetching.offline, &ui)?;
    let mut worker = Worker::open(plan)?;
    let done = worker.compute(part.shards(worker.shards()), &ui)?;
    let plan = worker.plan();
    let seconds = start.elapsed().as_secs_f64();
    match options.log.style() {
        Style::Quiet => {}
        Style::Json => ui.event(json!({"event": "summary", "dir": plan.dir.root(), "part": part.number,
            "of": part.of, "computed": done, "seconds": seconds})),
        Style::Auto => print(&summary(&plan.pipeline.name, part, &done, seconds))?,
    }
    Ok(())
}

fn summary(name: &str, part: Part, done: &Computed, seconds: f64) -> String {
    let (shards, pictures) = (plural(done.shards, "table"), plural(done.pictures, "image"));
    let (name, computed) = (printable(name), done.shards - done.reused);
    let mut text = format!("{name}: part {} of {} done in {}", part.number, part.of, duration(seconds));
    text += &format!("\n  tables      {computed} of {shards} computed, {} were there", done.reused);
    text += &format!("\n  images      {pictures} computed, {} of them failed", done.failed);
    if done.timing.pictures > 0 {
        text += &format!("\n  speed       {:.1} images/s", done.timing.rate());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_number_and_how_many_there_are() {
        assert_eq!(part("3/64"), Ok(Part { number: 3, of: 64 }));
        for wrong in ["0/4", "5/4", "3", "a/b", "-1/4", "1/0", ""] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn schedulers_count_from_their_own_first_number() {
        let of = |set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
            scheduled(4, value).map_err(|error| error.to_string())
        };
        let part = |number| Ok(Part { number, of: 4 });
        assert_eq!(of(&[("SLURM_ARRAY_TASK_ID", "0"), ("SLURM_ARRAY_TASK_MIN", "0")]), part(1));
        assert_eq!(of(&[("SLURM_ARRAY_TASK_ID", "4"), ("SLURM_ARRAY_TASK_MIN", "1")]), part(4));
        assert_eq!(of(&[("JOB_COMPLETION_INDEX", "2")]), part(3));
        for (set, word) in [
            (&[("JOB_COMPLETION_INDEX", "4")][..], "task 5"),
            (&[("JOB_COMPLETION_INDEX", "x")], "`x`"),
            (&[("SLURM_ARRAY_TASK_ID", "9"), ("SLURM_ARRAY_TASK_MIN", "1")], "task 9"),
            (&[], "neither is set"),
        ] {
            assert!(of(set).is_err_and(|text| text.contains(word)), "{set:?}");
        }
    }
}
