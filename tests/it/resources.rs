//! Threads and memory: a request for too much is refused with its key before anything is allocated, and pictures share
//! the memory for decoding.

use std::process::Command;

use featurize::image::{RgbImage, png};

use crate::support::{Run, Workspace, call, featurize, project};

/// Pictures of one colour: small files of 39 MB each once decoded, which the allocator returns to the system at once.
fn large_pictures(count: usize) -> Workspace {
    let workspace = Workspace::new();
    for i in 0..count {
        let picture = png(&RgbImage::filled(3600, 3600, [i as u8, 90, 200])).expect("a PNG");
        assert!(picture.len() < 500_000);
        workspace.write(&format!("pictures/{i}.png"), &picture);
    }
    workspace.write("pictures/broken.png", b"\x89PNG\r\n\x1a\n");
    let yaml = "version: 1\ninput: {root: pictures, label: none, max_bad_fraction: 0.5}\nextract: {recipe: {size: \
                64}}\nruntime: {threads: 8}\n";
    workspace.write("pipeline.yaml", yaml.as_bytes());
    workspace
}

#[test]
fn pictures_wait_for_memory_and_give_the_same_features() {
    let workspace = large_pictures(8);
    let peak = |out: &str, memory: &str| {
        let set = format!("runtime.decode_memory={memory}");
        let run = workspace.run(out, &["--set", &set]).ok();
        run.event("summary")["peak_memory_mb"].as_u64()
    };
    let [many, few, alone] = [("many", "1GiB"), ("few", "90MB"), ("alone", "1")].map(|(out, memory)| peak(out, memory));
    let features = |out: &str| workspace.read(&format!("{out}/features/part-00000.parquet"));
    assert_eq!(features("many"), features("few"));
    assert_eq!(features("many"), features("alone"));
    if let (Some(few), Some(alone)) = (few, alone) {
        // the number of pictures that were decoded at the same time depends on chance
        assert!(alone + 20 < few && few < alone + 70, "{many:?} MB, {few} MB and {alone} MB");
    }
}

#[test]
fn every_command_that_decodes_has_the_flag() {
    let workspace = large_pictures(4);
    let pictures = workspace.path("pictures");
    let table = workspace.path("features.parquet");
    workspace.run("out", &[]).ok();
    let run = |arguments: &[&str], path: Option<&std::path::Path>| {
        let mut command = featurize();
        command.args(arguments).args(path).arg(&pictures).args(["--decode-memory", "1MB", "--threads", "4"]);
        Run::of(command.output().expect("started"))
    };
    for (arguments, path) in [
        (&["classify", "--csv"][..], None),
        (&["embed", "-o", table.to_str().expect("text")], None),
        (&["similar"], Some(workspace.path("out"))),
    ] {
        let run = run(arguments, path.as_deref());
        // one picture is broken
        run.ended(1, &["broken.png", "1 of 5 pictures could not be read"]);
    }
}

#[test]
fn numbers_out_of_range_are_refused_at_once() {
    let workspace = Workspace::with_fruits(2, 1);
    for (set, text) in [
        ("runtime.threads=100000", "expected a whole number from 1 to 1024, found `100000`"),
        ("train.mlp.hidden=[1000000000, 10]", "expected a whole number from 1 to 65536, found `1000000000`"),
        ("extract.recipe.size=[5000, 5000]", "expected from 1 to 4096 pixels each way, found `[5000, 5000]`"),
    ] {
        workspace.run("out", &["--set", set]).ended(2, &[text]);
        assert!(!workspace.path("out").exists());
    }
    for arguments in [
        &["classify", "x.jpg", "--threads", "1025"][..],
        &["classify", "x.jpg", "--decode-memory", "lots"],
        &["bench", "--seconds", "inf"],
        &["bench", "--seconds", "0"],
    ] {
        call(project(), arguments).ended(2, &[]);
    }
}

#[test]
fn more_memory_than_there_is_is_an_error_before_the_first_picture() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let workspace = Workspace::with_fruits(2, 1);
    let layers = format!("train.mlp.hidden=[{}65536]", "65536, ".repeat(63));
    workspace
        .run("out", &["--set", &layers])
        .ended(1, &["`train.mlp.hidden`: training the layers ", "write fewer units"]);
    assert!(!workspace.path("out/features").exists(), "it extracted");
}

/// A process that may start no threads, or only a few, ends with an error and does not panic.
#[cfg(unix)]
#[test]
fn a_limit_of_processes_is_an_error_and_no_panic() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let workspace = large_pictures(2);
    std::fs::set_permissions(workspace.path(""), std::fs::Permissions::from_mode(0o777)).expect("permissions");
    let root = std::process::Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    for most in [1, 3, 6, 12] {
        let mut command = Command::new("sh");
        // dash calls the option `p`
        let script =
            format!("ulimit -u {most} 2>/dev/null || ulimit -p {most} 2>/dev/null || exit 77; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_featurize"), "run"]);
        command.arg(workspace.path("pipeline.yaml")).arg("--out").arg(workspace.path(&format!("out-{most}")));
        command.args(["--set", "runtime.threads=64"]);
        if root {
            // the limit does not apply to root
            command.uid(65_534).gid(65_534);
        }
        let Ok(output) = command.output() else { continue };
        let run = Run::of(output);
        match run.code {
            // the shell has no such limit, or another user may not run the program
            Some(77 | 126 | 127) => {}
            Some(0) => {}
            Some(1) => assert!(run.stderr.contains("the system lets this process start"), "{most}: {}", run.stderr),
            code => panic!("{most} processes: {code:?}\n{}", run.stderr),
        }
        assert!(!run.stderr.contains("panicked"), "{most}: {}", run.stderr);
    }
}
