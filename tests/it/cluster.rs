//! Parts of a run that are computed by separate processes, as on the machines of a cluster, give the same tables as one
//! process.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Run, Workspace, featurize};

/// The command `featurize extract pipeline.yaml --out out --log json …`, not started.
pub fn extract(workspace: &Workspace, out: &str, more: &[&str]) -> Command {
    let mut command = featurize();
    command.arg("extract").arg(workspace.path("pipeline.yaml")).arg("--out").arg(workspace.path(out));
    command.args(["--log", "json"]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "JOB_COMPLETION_INDEX"] {
        command.env_remove(name);
    }
    command
}

pub fn done(command: &mut Command) -> Run {
    Run::of(command.output().expect("started"))
}

/// The number of files with this extension among the shards of a run.
fn shards(workspace: &Workspace, out: &str, ending: &str) -> usize {
    let entries = std::fs::read_dir(workspace.path(out).join(".store/shards")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|found| found == ending)).count()
}

/// Kills the process once it has committed some shards; returns whether it was still running.
fn kill_at_work(workspace: &Workspace, child: &mut Child) -> bool {
    let start = Instant::now();
    while shards(workspace, "out", "commit") < 2 {
        assert!(start.elapsed() < Duration::from_secs(120), "no part begins");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed");
    !child.wait().expect("ended").success()
}

#[test]
fn parts_in_three_processes_one_of_them_killed_give_the_tables_of_one_machine() {
    let workspace = Workspace::with_fruits(24, 8);
    workspace.write("pictures/Training/Lemon/broken.jpg", b"\xff\xd8\xff no picture");
    let slow = ["--set", "extract.shard_rows=4", "--set", "runtime.threads=1"];
    workspace.run("whole", &slow).ok();
    workspace.run("out", &[&["--until", "scan"], &slow[..]].concat()).ok();
    let mut parts: Vec<Child> = ["1/3", "2/3", "3/3"]
        .map(|part| extract(&workspace, "out", &slow).args(["--shard", part]).spawn().expect("started"))
        .into();
    assert!(kill_at_work(&workspace, &mut parts[1]), "it ended before it was killed");
    for index in [2, 0] {
        Run::of(parts.remove(index).wait_with_output().expect("ended")).ok();
    }
    // computed again, with the part taken from Slurm's variables
    let again = done(
        extract(&workspace, "out", &slow)
            .args(["--shards", "3"])
            .env("SLURM_ARRAY_TASK_ID", "1")
            .env("SLURM_ARRAY_TASK_MIN", "0"),
    );
    assert!(again.ok().event("summary")["computed"]["pictures"].as_u64().is_some_and(|pictures| pictures > 0));
    let nothing = done(extract(&workspace, "out", &slow).args(["--shard", "2/3"])).ok();
    let computed = nothing.event("summary")["computed"].clone();
    assert_eq!((&computed["pictures"], &computed["reused"]), (&0.into(), &computed["shards"]));
    assert!(!workspace.path("out/features").exists(), "a worker gives no table its number");
    let rest = workspace.run("out", &slow).ok();
    assert!(!rest.stderr.contains("extract_timing"), "nothing was left to compute: {}", rest.stderr);
    let expected = workspace.results("whole");
    assert!(expected.len() > 30 && expected.contains_key("quality.parquet"), "{:?}", expected.keys());
    workspace.same_results("out", "whole");
    // the listing now has the contents of all pictures, and a late worker finds all tables
    let late = done(extract(&workspace, "out", &slow).args(["--shard", "1/1"])).ok();
    assert_eq!(late.event("summary")["computed"]["pictures"], 0);
    assert_eq!(shards(&workspace, "out", "parquet"), 0);
    assert!(workspace.run("out", &slow).ok().computed().is_empty());
}

#[test]
fn a_run_computes_what_no_part_has_computed() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("whole", &[]).ok();
    workspace.run("out", &["--until", "scan"]).ok();
    done(&mut extract(&workspace, "out", &["--shard", "1/2"])).ok();
    // after another listing, the shards are identified by the contents of their pictures
    workspace.run("out", &["--until", "scan"]).ok();
    let again = done(&mut extract(&workspace, "out", &["--shard", "1/2"])).ok();
    assert_eq!(again.event("summary")["computed"]["pictures"], 0);
    let rest = workspace.run("out", &[]).ok();
    assert!((1..18).contains(&rest.extracted()), "{}", rest.stderr);
    assert!(workspace.results("out") == workspace.results("whole"));
}

#[test]
fn a_listing_knows_where_the_members_of_an_archive_lie() {
    let sources = crate::support::project().join("tests/golden/sources");
    for (archive, more) in [
        ("ustar.tar", None),
        ("gnu.tar.gz", None),
        ("gnu.tar.zst", None),
        ("plain.zip", None),
        ("plain.parquet", Some("input.parquet={path: name, label: label}")),
    ] {
        let workspace = Workspace::new();
        let root = sources.join(archive).display().to_string();
        let yaml = format!(
            "version: 1\nname: members\ninput: {{root: {root}, max_bad_fraction: 0.9}}\nextract: {{shard_rows: 2}}\n"
        );
        workspace.write("pipeline.yaml", yaml.as_bytes());
        let more: Vec<&str> = more.iter().flat_map(|set| ["--set", *set]).collect();
        workspace.run("whole", &[&["--until", "extract"], &more[..]].concat()).ok();
        workspace.run("out", &[&["--until", "scan"], &more[..]].concat()).ok();
        for part in ["2/2", "1/2"] {
            done(extract(&workspace, "out", &more).args(["--shard", part])).ok();
        }
        let rest = workspace.run("out", &[&["--until", "extract"], &more[..]].concat()).ok();
        assert!(rest.stderr.contains("as listed before"), "{archive}: {}", rest.stderr);
        assert!(!rest.stderr.contains("extract_timing"), "{archive}: {}", rest.stderr);
        let (found, expected) = (workspace.results("out"), workspace.results("whole"));
        assert!(expected.len() >= 4 && found == expected, "{archive}: {:?}", found.keys());
        let anew = workspace.run("out", &[&["--until", "extract", "--rescan"], &more[..]].concat()).ok();
        assert!(anew.computed().is_empty() && !anew.stderr.contains("as listed before"), "{archive}");
    }
}

#[test]
fn a_part_is_refused_where_its_tables_would_not_be_those_of_the_run() {
    let workspace = Workspace::with_fruits(2, 1);
    let error = |more: &[&str]| {
        let run = done(extract(&workspace, "out", &["--shard", "1/2"]).args(more));
        assert_ne!(run.code, Some(0), "{more:?}");
        run.error()
    };
    assert!(error(&[]).contains("--until scan"), "{}", error(&[]));
    assert!(!workspace.path("out").exists());
    workspace.run("out", &["--until", "scan"]).ok();
    for set in ["extract.recipe.size=64", "extract.shard_rows=4", "input.classes=[Lemon]", "runtime.kernels=portable"] {
        let text = error(&["--set", set]);
        assert!(text.contains("other settings") && text.contains("--until scan"), "{set}: {text}");
    }
    // the first worker ran on another kind of machine
    let other = br#"{"version": "0.0.1", "device": "cpu", "kernels": "abacus"}"#;
    workspace.write("out/.store/workers.json", other);
    let text = error(&[]);
    assert!(text.contains("abacus") && text.contains("0.0.1") && text.contains("runtime.kernels"), "{text}");
    // with pinned kernels the listing is a new one, for which no worker has noted its machine
    let pinned = ["--set", "runtime.kernels=portable"];
    workspace.run("out", &[&["--until", "scan"], &pinned[..]].concat()).ok();
    done(extract(&workspace, "out", &pinned).args(["--shard", "1/2"])).ok();
    done(&mut extract(&workspace, "out", &["--shards", "2"])).ended(2, &[]);
}
