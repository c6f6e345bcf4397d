//! Listings that are too large for memory; in these tests, those of more than 48 files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::shard::{self, Filled, Maker, Outcome, Shard};
use crate::config;
use crate::io::IoError;
use crate::io::columns::Columns;
use crate::io::features::FeatureFile;
use crate::pipeline::{self, peak_memory_mb};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::{Options, StageId};
use crate::stages::scan::{Contents, Listing, Split};

const YAML: &str = "version: 1\ninput: {root: data/fruits, split: {train: 'Training/**', test: 'Test/**'}, \
                    classes: [Banana, Lemon, Strawberry], limit_per_class: 11}\n\
                    extract: {shard_rows: 8, recipe: {size: 64}}\nruntime: {threads: 1}\noutput: {cache: none}\n";
/// The run folder of the process that is killed.
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
    // a missing table is computed again, and the other tables are found
    let lost = &stored.dir.parts()[4];
    let pictures = FeatureFile::open(lost).expect("opened").rows();
    std::fs::remove_file(lost).expect("removed");
    let done = extract(&stored).extracted.expect("extracted");
    assert_eq!((done.timing.pictures, done.ok), (pictures, 66));
    assert!(tables(&stored) == expected && manifest(&stored) == rows);
    assert!(extract(&stored).computed.is_empty());
    // with another layout, tables are rewritten from their own values
    let array = YAML.replace("{cache: none}", "{cache: none, layout: array}");
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

/// Returns the whole listing in memory.
fn whole(listing: &Listing) -> Listing {
    let mut whole = Listing { classes: listing.classes.clone(), ..Listing::default() };
    let take = |part: &Listing| {
        whole.pictures.extend_from_slice(&part.pictures);
        whole.aside.extend_from_slice(&part.aside);
        Ok::<_, IoError>(())
    };
    listing.for_each(take).expect("read");
    whole
}

#[test]
fn a_folder_of_too_many_files_is_listed_as_one_that_is_held() {
    let out = tempfile::tempdir().expect("folder");
    let options = Options { until: Some(StageId::Scan), ..Options::default() };
    for (i, (input, is_sound)) in [
        ("split: {train: 'Training/**', test: 'Test/**'}, classes: [Lemon, Banana], limit_per_class: 11", true),
        ("split: {fraction: 0.3, seed: 5}, limit_per_class: {test: 2}", true),
        ("label: {pattern: '/([A-Z])[a-z]+/'}", true),
        ("label: none", true),
        ("label: {pattern: 'no(where)'}", false),
        ("classes: [Nothing]", false),
        ("split: {train: 'Nothing/**', test: 'Nowhere/**'}", false),
    ]
    .into_iter()
    .enumerate()
    {
        let yaml = format!("version: 1\ninput: {{root: data/fruits, {input}}}\nextract: {{shard_rows: 8}}\n");
        let [held, stored] = ["held", "stored"].map(|name| plan(&yaml, &out.path().join(format!("{name}-{i}"))));
        let stored = Plan { held: 48, ..stored };
        let [one, other] = [&held, &stored].map(|plan| pipeline::run(plan, &options, &Ui::silent()));
        match (one, other, is_sound) {
            (Ok(one), Ok(other), true) => {
                let (one, other) = (one.listing, other.listing);
                assert!(one.stored.is_none() && other.stored.is_some() && other.parts().len() > 1, "{input}");
                assert!(whole(&one) == whole(&other) && manifest(&held) == manifest(&stored), "{input}");
                assert_eq!((one.fingerprint(), one.paths()), (other.fingerprint(), other.paths()), "{input}");
            }
            (Err(one), Err(other), false) => {
                assert_eq!(one.to_string(), other.to_string());
                assert!(!stored.dir.root().exists(), "{input}");
            }
            (one, other, _) => panic!("{input}: {:?} {:?}", one.err(), other.err()),
        }
    }
}

#[test]
fn a_large_folder_that_is_listed_again_costs_its_changes_only() {
    let out = tempfile::tempdir().expect("folder");
    let fruits = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fruits/Training");
    let at = |name: &str| out.path().join("pictures").join(name);
    let mut names = Vec::new();
    for class in ["Banana", "Lemon", "Strawberry"] {
        std::fs::create_dir_all(at(class)).expect("folder");
        for entry in std::fs::read_dir(fruits.join(class)).expect("shipped").take(24) {
            let name = format!("{class}/{}", entry.expect("shipped").file_name().display());
            std::fs::copy(fruits.join(&name), at(&name)).expect("copied");
            names.push(name);
        }
    }
    let yaml = format!(
        "version: 1\ninput: {{root: {}}}\nextract: {{shard_rows: 8, recipe: {{size: 64}}}}\nruntime: {{threads: 1}}\n",
        at("").display()
    );
    let stored = small(&yaml, &out.path().join("stored"));
    let scan = |rescan| {
        let options = Options { until: Some(StageId::Extract), rescan, ..Options::default() };
        let outcome = pipeline::run(&stored, &options, &Ui::silent()).expect("extracted");
        assert!(outcome.listing.stored.is_some());
        let computed = if outcome.computed.is_empty() { 0 } else { outcome.extracted.expect("done").timing.pictures };
        (computed, outcome.listing.fingerprint())
    };
    assert_eq!(scan(false).0, 72);
    assert_eq!(scan(true).0, 0, "nothing has changed");
    // one file copied over itself, one changed, one new, one deleted
    let bytes = |name: &str| std::fs::read(at(name)).expect("read");
    std::fs::write(at(&names[1]), bytes(&names[1])).expect("written");
    std::fs::write(at(&names[30]), bytes(&names[2])).expect("written");
    std::fs::write(at("Lemon/new.jpg"), bytes(&names[3])).expect("written");
    std::fs::remove_file(at(&names[60])).expect("removed");
    assert_eq!(scan(false).0, 0, "it is not listed");
    let (computed, fingerprint) = scan(true);
    assert!((2..=32).contains(&computed), "{computed}");
    let held = plan(&yaml, &out.path().join("held"));
    assert_eq!(extract(&held).listing.fingerprint(), fingerprint);
    assert!(tables(&stored) == tables(&held) && manifest(&stored) == manifest(&held));
    assert_eq!(scan(true).0, 0);
}

#[test]
fn other_files_before_and_behind_all_pictures_are_no_shards() {
    let out = tempfile::tempdir().expect("folder");
    let fruits = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fruits/Training/Lemon");
    let root = out.path().join("input");
    for folder in ["annotations", "images", "labels"] {
        std::fs::create_dir_all(root.join(folder)).expect("folder");
    }
    for (i, entry) in std::fs::read_dir(fruits).expect("shipped").take(24).enumerate() {
        let picture = entry.expect("shipped").path();
        std::fs::copy(picture, root.join(format!("images/{i:03}.jpg"))).expect("copied");
    }
    for i in 0..70 {
        for name in [format!("annotations/{i:03}.xml"), format!("labels/{i:03}.txt")] {
            std::fs::write(root.join(name), b"x").expect("written");
        }
    }
    let yaml = format!(
        "version: 1\ninput: {{root: {}, label: none}}\nextract: {{shard_rows: 8, recipe: {{size: 64}}}}\n\
         runtime: {{threads: 1}}\noutput: {{cache: none}}\n",
        root.display()
    );
    let (held, stored) = (plan(&yaml, &out.path().join("held")), small(&yaml, &out.path().join("stored")));
    let one = extract(&held).listing;
    let options = Options { until: Some(StageId::Scan), ..Options::default() };
    let listed = pipeline::run(&stored, &options, &Ui::silent()).expect("listed").listing;
    assert_eq!(whole(&listed).aside, one.aside);
    // a part has at most the pictures of one shard and of one part of the gathering
    let most = |listing: &Listing| {
        let parts = listing.parts();
        let files = parts.iter().map(|part| listing.part(part).expect("read").0).map(|one| one.len() + one.len_aside());
        files.max().expect("parts")
    };
    assert!(most(&listed) <= 8 + 12, "{}", most(&listed));
    let worker = super::Worker::open(small(&yaml, &out.path().join("stored"))).expect("opened");
    let all = shard::cut(&stored, &listed).expect("cut");
    let expected: Vec<(usize, usize)> = all.iter().map(|shard| (shard.number, shard.rows.len())).collect();
    assert_eq!((worker.shards(), worker.missing(0..worker.shards()).expect("read")), (all.len(), expected.clone()));
    assert_eq!(worker.missing(2..3).expect("read"), expected[2..3]);
    assert_eq!(listed.find("images/020.jpg").map(|found| found.path.clone()), Some("images/020.jpg".to_string()));
    let other = extract(&stored);
    assert_eq!(other.extracted.map(|done| (done.ok, done.skipped)), Some((24, 140)));
    assert!(most(&other.listing) <= 8 + 12 && other.listing.fingerprint() == extract(&held).listing.fingerprint());
    assert!(tables(&stored) == tables(&held) && manifest(&stored) == manifest(&held));
    assert!(extract(&stored).computed.is_empty());
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

/// Memory and time of the driver with 10 million files, whose features workers have computed:
/// `cargo test --release --lib ten_million -- --ignored --nocapture`. It takes 5 GB of disk, and a quarter of an hour
/// including the creation and deletion of the files; `FEATURIZE_TEST_FILES` makes fewer.
#[test]
#[ignore = "takes minutes and gigabytes"]
fn ten_million_pictures_take_less_than_a_gigabyte_of_the_driver() {
    let count = std::env::var("FEATURIZE_TEST_FILES").map_or(10_000_000, |text| text.parse().expect("a number"));
    let out = tempfile::tempdir().expect("folder");
    let root = out.path().join("pictures");
    make(&root, count);
    // 32 features
    let input = format!("input: {{root: {}, split: {{fraction: 0.1}}}}", root.display());
    let yaml = format!("version: 1\n{input}\nextract: {{layer: bn1.act}}\noutput: {{layout: array}}\n");
    let plan = plan(&yaml, &out.path().join("run"));
    let run = |what: &str, until: StageId, rescan: bool| {
        let start = Instant::now();
        let options = Options { until: Some(until), rescan, ..Options::default() };
        let outcome = pipeline::run(&plan, &options, &Ui::silent()).expect("a sound run");
        let seconds = start.elapsed().as_secs_f64();
        println!("{what}: {seconds:.1} s, {:?} MB at most", peak_memory_mb());
        (outcome, seconds)
    };
    let listing = run("the first scan", StageId::Scan, false).0.listing;
    assert_eq!((listing.len(), listing.len_of(Split::Test)), (count, count / 10));
    for part in listing.parts() {
        let (part, ranges) = listing.part(&part).expect("read");
        let shards = shard::of_ranges(&plan, &part, ranges.expect("of the store")).expect("shards");
        shards.iter().for_each(|shard| write(&plan, &part, shard));
    }
    drop(listing);
    let done = run("the driver takes the tables", StageId::Extract, false).0.extracted.expect("extracted");
    assert_eq!((done.ok, done.timing.pictures), (count, 0));
    println!("{} shards", done.shards);
    let (outcome, seconds) = run("a start of the finished run", StageId::Extract, false);
    assert!(outcome.computed.is_empty() && seconds < 10.0);
    let (outcome, _) = run("a start with --rescan", StageId::Extract, true);
    assert!(outcome.computed.is_empty());
    assert!(peak_memory_mb().is_none_or(|peak| peak < 1000));
}

/// Makes `count` files, a thousand in each folder, as hard links to a few.
fn make(root: &Path, count: usize) {
    // ext4 allows 65,000 hard links to a file
    const NAMES: usize = 50_000;
    let path = |i: usize| root.join(format!("{:05}/{i:012}.jpg", i / 1000));
    for i in 0..count {
        if i % 1000 == 0 {
            std::fs::create_dir_all(path(i).with_file_name("")).expect("folder");
        }
        match i % NAMES {
            0 => std::fs::write(path(i), b"x").expect("written"),
            number => std::fs::hard_link(path(i - number), path(i)).expect("linked"),
        }
    }
    // a file that was changed just now has no stamp
    std::thread::sleep(Duration::from_secs(3));
}

/// Writes the table of a shard as a worker would.
fn write(plan: &Plan, part: &Listing, shard: &Shard) {
    let pictures = &part.pictures[shard.rows.clone()];
    let maker = Maker { version: "test".into(), device: "cpu".into(), kernels: None };
    let contents: Vec<Contents> = pictures.iter().map(|one| Contents::of(one.path.as_bytes())).collect();
    let outcomes = vec![Outcome::Ok { width: 640, height: 480, sha256: None }; pictures.len()];
    let zeros = vec![0.0_f32; plan.width()];
    let rows = vec![&zeros[..]; pictures.len()];
    let filled = Filled { maker: Some(&maker), outcomes: &outcomes, contents: &contents, rows: &rows };
    shard::write(plan, part, shard, filled, None).expect("written");
}
