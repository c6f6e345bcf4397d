//! Listings that are too large to be held in memory: in tests those of more than 48 files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::shard::{self, Filled, Maker, Outcome, Shard};
use crate::config;
use crate::io::columns::Columns;
use crate::pipeline::{self, peak_memory_mb};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::{Options, StageId};
use crate::stages::scan::{Contents, Listing, Stored, Storing};
use crate::store::{Claims, Owner};

fn plan(yaml: &str, out: &Path) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("test.yaml");
    let pipeline = config::parse(yaml, &file, &[]).expect("a sound pipeline");
    Plan::new(pipeline, Some(out), &mut |_| panic!("the weights are inside")).expect("a plan")
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
    let yaml = |hash: bool| {
        format!(
            "version: 1\ninput: {{root: data/fruits, split: {{train: 'Training/**', test: 'Test/**'}}, \
             classes: [Banana, Lemon, Strawberry], limit_per_class: 11, hash: {hash}}}\nextract: {{shard_rows: 8, \
             recipe: {{size: 64}}}}\n"
        )
    };
    // copies are looked for among all pictures, which are held for that
    let held = plan(&yaml(true), &out.path().join("held"));
    let stored = plan(&yaml(false), &out.path().join("stored"));
    assert!(extract(&held).listing.stored.is_none());
    let outcome = extract(&stored);
    assert!(outcome.listing.stored.is_some() && outcome.listing.parts().len() > 3);
    assert_eq!(outcome.extracted.map(|done| (done.ok, done.train_rows)), Some((66, 33)));
    let (expected, rows) = (tables(&held), manifest(&held));
    assert!(expected.len() > 8 && tables(&stored) == expected && manifest(&stored) == rows);
    let again = extract(&stored);
    assert!(again.computed.is_empty() && again.listing.stored.is_some());
    // killed before it was recorded: what is missing is computed again, and the rest is found
    std::fs::remove_file(stored.dir.record(StageId::Extract)).expect("removed");
    std::fs::remove_file(&stored.dir.parts()[4]).expect("removed");
    let done = extract(&stored).extracted.expect("extracted");
    assert_eq!((done.shards - done.reused, done.ok), (1, 66));
    assert!(tables(&stored) == expected && manifest(&stored) == rows);
    assert!(extract(&stored).computed.is_empty());
    // another layout writes tables anew from what they hold
    let array = yaml(false) + "output: {layout: array}\n";
    let done = extract(&plan(&array, stored.dir.root())).extracted.expect("extracted");
    assert_eq!((done.timing.pictures, done.ok), (0, 66));
    extract(&stored);
    assert!(tables(&stored) == expected);
}

/// The driver's memory and time with 10 million pictures that are not there, whose features workers have computed:
/// `FEATURIZE_TEST_PART=262144 cargo test --release --lib ten_million -- --ignored --nocapture`. Takes some 4 GB of disk.
#[test]
#[ignore = "takes minutes and gigabytes"]
fn ten_million_pictures_take_less_than_a_gigabyte_of_the_driver() {
    let count = std::env::var("FEATURIZE_TEST_PICTURES").map_or(10_000_000, |text| text.parse().expect("a number"));
    let out = tempfile::tempdir().expect("folder");
    std::fs::create_dir(out.path().join("pictures")).expect("folder");
    let root = out.path().join("pictures").display().to_string();
    let yaml = format!("version: 1\ninput: {{root: {root}}}\noutput: {{layout: array}}\n");
    let plan = plan(&yaml, &out.path().join("run"));
    let claims = Claims { name: plan.pipeline.name.clone(), ..Claims::default() };
    Owner::of(&plan.dir).claim(&claims).expect("written");
    let rows = shard::most_rows(&plan, count);
    let storing = Storing {
        plan: &plan,
        settings: plan.table_settings().expect("settings"),
        cut: &|pictures| shard::ranges(pictures, rows),
    };
    let start = Instant::now();
    storing.make(count).expect("written");
    let told = |what: &str, start: Instant| {
        println!("{what}: {:.1} s, {:?} MB at most", start.elapsed().as_secs_f64(), peak_memory_mb());
    };
    told("a listing is made", start);
    let start = Instant::now();
    let stored = Stored::open(&plan.dir).expect("opened").expect("there");
    let maker = Maker { version: "test".into(), device: "cpu".into(), kernels: None };
    let zeros = vec![0.0_f32; plan.width()];
    let listing = stored.into_listing();
    for part in listing.parts() {
        let (part, ranges) = listing.part(&part).expect("read");
        let shards = shard::of_ranges(&plan, &part, ranges.expect("of the store")).expect("shards");
        for shard in &shards {
            write(&plan, &part, shard, &maker, &zeros);
        }
    }
    told("workers have written its tables", start);
    drop(listing);
    let start = Instant::now();
    let done = extract(&plan).extracted.expect("extracted");
    told("the driver takes them", start);
    assert_eq!((done.ok, done.timing.pictures), (count, 0));
    println!("{} shards", done.shards);
    let start = Instant::now();
    assert!(extract(&plan).computed.is_empty());
    told("a start of the finished run", start);
    assert!(peak_memory_mb().is_none_or(|peak| peak < 1000));
}

/// Writes the table of a shard as a worker would.
fn write(plan: &Plan, part: &Listing, shard: &Shard, maker: &Maker, zeros: &[f32]) {
    let pictures = &part.pictures[shard.rows.clone()];
    let contents: Vec<Contents> = pictures.iter().map(|one| Contents::of(one.path.as_bytes())).collect();
    let outcomes = vec![Outcome::Ok { width: 640, height: 480, sha256: None }; pictures.len()];
    let rows = vec![zeros; pictures.len()];
    let filled = Filled { maker: Some(maker), outcomes: &outcomes, contents: &contents, rows: &rows };
    shard::write(plan, part, shard, filled, None).expect("written");
}
