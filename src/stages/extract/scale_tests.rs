//! Listings that are too large to be held in memory: here those of more than 48 files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::shard::{self, Filled, Maker, Outcome, Shard};
use crate::config;
use crate::io::columns::Columns;
use crate::io::features::FeatureFile;
use crate::pipeline::{self, peak_memory_mb};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::{Options, StageId};
use crate::stages::scan::{Contents, Stored, Storing};
use crate::store::{Claims, Owner};

const YAML: &str = "version: 1\ninput: {root: data/fruits, split: {train: 'Training/**', test: 'Test/**'}, \
                    classes: [Banana, Lemon, Strawberry], limit_per_class: 11}\n\
                    extract: {shard_rows: 8, recipe: {size: 64}}\nruntime: {threads: 1}\n";
/// The run's folder of the process that is killed.
const KILLED: &str = "FEATURIZE_TEST_KILLED";

fn plan(yaml: &str, out: &Path) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("test.yaml");
    let pipeline = config::parse(yaml, &file, &[]).expect("a sound pipeline");
    Plan::new(pipeline, Some(out), &mut |_| panic!("the weights are inside")).expect("a plan")
}

fn small(yaml: &str, out: &Path) -> Plan {
    Plan { held: 48, ..plan(yaml, out) }
}

fn extract(plan: &Plan) -> pipeline::Outcome {
    let options = Options { until: Some(StageId::Extract), ..Options::default() };
    pipeline::run(plan, &options, &Ui::silent()).expect("extracted")
}

/// The feature tables, by name.
fn tables(plan: &Plan) -> BTreeMap<String, Vec<u8>> {
    plan.dir.parts().iter().map(|path| (plan.dir.name_of(path), std::fs::read(path).expect("read"))).collect()
}

fn manifest(plan: &Plan) -> Vec<Vec<Option<String>>> {
    let names = ["path", "label", "split", "status", "kind", "error"];
    let columns = Columns::read(&plan.dir.manifest(), &names).expect("read");
    names.map(|name| columns.texts(name).expect("text")).to_vec()
}

#[test]
fn a_listing_that_stays_in_the_store_gives_the_tables_of_one_that_is_held() {
    let out = tempfile::tempdir().expect("folder");
    let (held, stored) = (plan(YAML, &out.path().join("held")), small(YAML, &out.path().join("stored")));
    assert!(extract(&held).listing.stored.is_none());
    let outcome = extract(&stored);
    assert!(outcome.listing.stored.is_some() && outcome.listing.parts().len() > 3);
    assert_eq!(outcome.extracted.map(|done| (done.ok, done.train_rows)), Some((66, 33)));
    let (expected, rows) = (tables(&held), manifest(&held));
    assert!(expected.len() > 8 && tables(&stored) == expected && manifest(&stored) == rows);
    let again = extract(&stored);
    assert!(again.computed.is_empty() && again.listing.stored.is_some());
    // a table is gone: it is computed again, and the rest is found
    let lost = &stored.dir.parts()[4];
    let pictures = FeatureFile::open(lost).expect("opened").rows();
    std::fs::remove_file(lost).expect("removed");
    let done = extract(&stored).extracted.expect("extracted");
    assert_eq!((done.timing.pictures, done.ok), (pictures, 66));
    assert!(tables(&stored) == expected && manifest(&stored) == rows);
    assert!(extract(&stored).computed.is_empty());
    // another layout writes tables anew from what they hold
    let array = format!("{YAML}output: {{layout: array}}\n");
    let done = extract(&small(&array, stored.dir.root())).extracted.expect("extracted");
    assert_eq!((done.timing.pictures, done.ok), (0, 66));
    extract(&stored);
    assert!(tables(&stored) == expected);
}

#[test]
fn a_run_that_was_killed_computes_no_shard_twice() {
    let out = tempfile::tempdir().expect("folder");
    let (whole, killed) = (plan(YAML, &out.path().join("whole")), small(YAML, &out.path().join("killed")));
    extract(&whole);
    let mut process = Command::new(std::env::current_exe().expect("this program"));
    process.args(["--exact", "stages::extract::scale_tests::the_process_that_is_killed", "--ignored"]);
    let mut process = process.env(KILLED, killed.dir.root()).spawn().expect("started");
    let start = Instant::now();
    while killed.dir.parts().len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(120), "no table appears");
        std::thread::sleep(Duration::from_millis(1));
    }
    process.kill().expect("killed");
    assert!(!process.wait().expect("ended").success(), "it ended before it was killed");
    let rows = |path| FeatureFile::open(path).expect("opened").rows();
    let pictures: usize = killed.dir.parts().iter().map(|path| rows(path)).sum();
    let outcome = extract(&killed);
    assert!(outcome.listing.stored.is_some());
    let computed = outcome.extracted.expect("extracted").timing.pictures;
    assert!((1..=66 - pictures).contains(&computed), "{computed} were computed, {pictures} had been");
    assert!(tables(&killed) == tables(&whole) && manifest(&killed) == manifest(&whole));
}

#[test]
#[ignore = "the test above starts it as a process"]
fn the_process_that_is_killed() {
    if let Some(out) = std::env::var_os(KILLED) {
        extract(&small(YAML, Path::new(&out)));
    }
}

#[test]
fn a_hundred_million_pictures_have_fewer_than_twenty_thousand_shards() {
    let out = tempfile::tempdir().expect("folder");
    for model in ["efficientnet_lite0", "resnet50"] {
        let yaml = format!("version: 1\ninput: {{root: data/fruits}}\nextract: {{model: {model}, weights: random}}\n");
        let plan = plan(&yaml, out.path());
        let rows = |pictures: usize| shard::most_rows(&plan, pictures);
        assert_eq!(rows(1_000_000), plan.shard_rows());
        assert!(100_000_000 / rows(100_000_000) * 4 / 3 <= 20_000 && rows(100_000_000) <= plan.shard_room());
    }
}

/// The driver's memory and time with 10 million pictures that are not there, whose features workers have computed:
/// `cargo test --release --lib ten_million -- --ignored --nocapture`. It takes 5 GB of disk.
#[test]
#[ignore = "takes minutes and gigabytes"]
fn ten_million_pictures_take_less_than_a_gigabyte_of_the_driver() {
    const COUNT: usize = 10_000_000;
    let out = tempfile::tempdir().expect("folder");
    std::fs::create_dir(out.path().join("pictures")).expect("folder");
    let root = out.path().join("pictures").display().to_string();
    // 32 features
    let yaml = format!("version: 1\ninput: {{root: {root}}}\nextract: {{layer: bn1.act}}\noutput: {{layout: array}}\n");
    let plan = plan(&yaml, &out.path().join("run"));
    let claims = Claims { name: plan.pipeline.name.clone(), ..Claims::default() };
    Owner::of(&plan.dir).claim(&claims).expect("written");
    let most = shard::most_rows(&plan, COUNT);
    let cut = |pictures: &[_]| shard::ranges(pictures, most);
    let told = |what: &str, start: Instant| {
        println!("{what}: {:.1} s, {:?} MB at most", start.elapsed().as_secs_f64(), peak_memory_mb());
    };
    let start = Instant::now();
    let settings = plan.table_settings().expect("settings");
    Storing { plan: &plan, settings, cut: &cut }.make(COUNT).expect("written");
    told("a listing is made", start);
    let start = Instant::now();
    let listing = Stored::open(&plan).expect("opened").expect("there").into_listing();
    for part in listing.parts() {
        let (part, ranges) = listing.part(&part).expect("read");
        let shards = shard::of_ranges(&plan, &part, ranges.expect("of the store")).expect("shards");
        shards.iter().for_each(|shard| write(&plan, &part, shard));
    }
    told("workers have written its tables", start);
    drop(listing);
    let start = Instant::now();
    let done = extract(&plan).extracted.expect("extracted");
    told(&format!("the driver takes the tables of {} shards", done.shards), start);
    assert_eq!((done.ok, done.timing.pictures), (COUNT, 0));
    let start = Instant::now();
    assert!(extract(&plan).computed.is_empty());
    told("a start of the finished run", start);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(peak_memory_mb().is_none_or(|peak| peak < 1000));
}

/// Writes the table of a shard as a worker would.
fn write(plan: &Plan, part: &super::Listing, shard: &Shard) {
    let pictures = &part.pictures[shard.rows.clone()];
    let maker = Maker { version: "test".into(), device: "cpu".into(), kernels: None };
    let contents: Vec<Contents> = pictures.iter().map(|one| Contents::of(one.path.as_bytes())).collect();
    let outcomes = vec![Outcome::Ok { width: 640, height: 480, sha256: None }; pictures.len()];
    let zeros = vec![0.0_f32; plan.width()];
    let rows = vec![&zeros[..]; pictures.len()];
    let filled = Filled { maker: Some(&maker), outcomes: &outcomes, contents: &contents, rows: &rows };
    shard::write(plan, part, shard, filled, None).expect("written");
}
