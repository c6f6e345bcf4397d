//! The provenance of a run: its date, its YAML file, and the command that computes it again.

use std::path::Path;
use std::time::SystemTime;

use super::formatting;
use crate::pipeline::Outcome;
use crate::plan::Plan;

/// The date of a run and all that is needed to compute it again.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// `2026-11-24 12:53`, UTC.
    pub date: String,
    /// The name of the YAML file, and its whole text.
    pub file: String,
    pub yaml: String,
    /// The command for a POSIX shell, in the folder where the run was started.
    pub command: String,
}

impl Provenance {
    /// The provenance of the run of `plan`.
    pub fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let pipeline = &plan.pipeline;
        let usual = pipeline.output.dir_for(&pipeline.name);
        let out = Some(plan.dir.root()).filter(|dir| *dir != usual);
        Self {
            date: formatting::date(computed(plan, outcome)),
            file: pipeline.file.display().to_string(),
            yaml: pipeline.source.text().trim_end().to_string(),
            command: command(&pipeline.file, out, pipeline.source.sets()),
        }
    }
}

/// The time at which the last stage before the report was committed; the present time where no record exists.
fn computed(plan: &Plan, outcome: &Outcome) -> SystemTime {
    let records = outcome.seconds.iter().map(|(stage, _)| plan.dir.record(*stage));
    let written = records.filter_map(|record| std::fs::metadata(record).and_then(|file| file.modified()).ok());
    written.max().unwrap_or_else(SystemTime::now)
}

/// The command line of a run: its file, its output folder where it is not the default, and the `--set` overrides.
fn command(file: &Path, out: Option<&Path>, sets: &[String]) -> String {
    let mut line = format!("featurize run {}", argument(file));
    line.extend(out.map(|out| format!(" --out {}", argument(out))));
    line.extend(sets.iter().map(|set| format!(" --set {}", quoted(set))));
    line
}

/// A path as a shell word that is not mistaken for an option.
fn argument(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { quoted(&format!("./{text}")) } else { quoted(&text) }
}

/// The text as one word of a shell, quoted if necessary.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_that_the_run_was_given() {
        let told = |file: &str, out: Option<&str>, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
            command(file.as_ref(), out.map(Path::new), &sets)
        };
        assert_eq!(told("pipelines/fruits.yaml", None, &[]), "featurize run pipelines/fruits.yaml");
        let line =
            told("my runs/it's.yaml", Some("-out"), &["reduce.pca.components=8", "input.classes=[a, $b]", "name="]);
        let out = r"featurize run 'my runs/it'\''s.yaml' --out ./-out";
        assert_eq!(line, format!("{out} --set reduce.pca.components=8 --set 'input.classes=[a, $b]' --set name="));
        if cfg!(unix) {
            let line = line.replace("featurize run", "printf '%s\\n'");
            let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
            let words = "my runs/it's.yaml\n--out\n./-out\n--set\nreduce.pca.components=8\n--set\ninput.classes=[a, \
                         $b]\n--set\nname=\n";
            assert_eq!(String::from_utf8_lossy(&output.stdout), words);
        }
    }
}
