//! Runs that were killed, or made by an earlier version, continue with the existing tables.

use super::*;
use crate::config;
use crate::io::features::FeatureFile;
use crate::io::{self, atomic};
use crate::stages::scan::{self, Contents};
use shard::Filled;

/// The folder of a run over ten of the shipped bananas, with these settings of `extract`, and its listing.
pub(super) fn bananas(extract: &str) -> (tempfile::TempDir, Plan, Listing) {
    let out = tempfile::tempdir().expect("folder");
    let yaml = format!(
        "version: 1\ninput: {{root: data/fruits, split: {{train: 'Training/**', test: 'Test/**'}}, classes: \
         [Banana], limit_per_class: 5}}\nextract: {{{extract}, recipe: {{size: 64}}}}\n"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("test.yaml");
    let pipeline = config::parse(&yaml, &file, &[]).expect("a sound pipeline");
    let plan = Plan::new(pipeline, Some(out.path()), &mut |_| panic!("the weights are inside")).expect("a plan");
    let listing = scan::run::<scan::ScanError>(&plan, false, None, &Ui::silent()).expect("bananas");
    (out, plan, listing)
}

#[test]
fn a_table_that_was_not_replaced_before_the_run_was_killed_is_the_one_that_is_committed() {
    let (_out, plan, mut listing) = bananas("shard_rows: 100");
    let (ui, options) = (Ui::silent(), Options::default());
    run(&plan, &mut listing, &options, &ui).expect("extracted");
    let id = &shard::cut(&plan, &listing).expect("one shard")[0].id;
    let mut kept = shard::kept(&plan.dir, id).expect("written");
    // a killed run was about to write another split, which is not asked for any more
    kept.tables.push("f".repeat(64));
    kept.write(&plan.dir, id).expect("written");
    let (done, files) = run(&plan, &mut listing, &options, &ui).expect("reused");
    assert_eq!(done.reused, 1);
    assert_eq!(files[0].blake3, Some(io::digest(&plan.dir.shard(0, 1)).expect("read")));
    kept.tables[0] = "e".repeat(64);
    kept.write(&plan.dir, id).expect("written");
    let error = run(&plan, &mut listing, &options, &ui).expect_err("neither of them");
    assert!(matches!(error, ExtractError::Io(IoError::Damaged { .. })), "{error}");
}

#[test]
fn a_run_of_before_contents_were_noted_is_taken_as_it_is() {
    let (_out, plan, listed) = bananas("shard_rows: 4");
    let (ui, options) = (Ui::silent(), Options::default());
    let mut listing = listed.clone();
    let (done, files) = run(&plan, &mut listing, &options, &ui).expect("extracted");
    assert_eq!((done.timing.pictures, done.reused), (10, 0));
    assert!(listing.pictures.iter().all(|picture| matches!(picture.contents, Contents::Hash(_))));
    assert!(files.iter().all(|file| file.blake3.is_some()));
    let mut again = listed.clone();
    resolve(&plan, &mut again, &ui).expect("read").remember();
    assert_eq!(again, listing);
    assert_eq!(run(&plan, &mut again, &options, &ui).expect("reused").0.timing.pictures, 0);
    // the same store as 0.3.0 wrote it: ids from sizes and times, a bare list of outcomes
    let noted = shard::cut(&plan, &listing).expect("shards");
    let bare = shard::cut(&plan, &listed).expect("shards");
    for (noted, shard) in noted.iter().zip(&bare) {
        assert_ne!(noted.id, shard.id);
        let outcomes = shard::outcomes(&plan.dir, &noted.id).expect("written");
        let matrix = FeatureFile::open(&shard.table(&plan.dir, &shard.id)).expect("opened").read_features(None);
        let matrix = matrix.expect("read");
        let rows: Vec<&[f32]> = matrix.iter_rows().collect();
        let contents = vec![Contents::Unknown; outcomes.len()];
        let filled = Filled { maker: None, outcomes: &outcomes, contents: &contents, rows: &rows };
        shard::write(&plan, &listed, shard, filled, None).expect("written");
        atomic::write_json(&plan.dir.outcomes(&shard.id), &outcomes).expect("written");
    }
    tables::sweep(&plan.dir, &bare).expect("swept");
    let mut listing = listed.clone();
    resolve(&plan, &mut listing, &ui).expect("nothing is noted").remember();
    let (done, files) = run(&plan, &mut listing, &options, &ui).expect("reused");
    assert_eq!((done.timing.pictures, done.reused, listing), (0, noted.len(), listed));
    assert!(files[0].blake3.is_none());
}
