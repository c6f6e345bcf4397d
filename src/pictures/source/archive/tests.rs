//! Archives and tables that other programs wrote: intact, cut short, damaged, and read by many threads.
//! `tests/golden/sources.py` made the files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use sha2::Digest;

use super::*;
use crate::pictures::reader::in_pieces;

/// Path, SHA-256 and class of every picture, in stored order.
type Wanted = BTreeMap<String, Vec<(String, String, Option<String>)>>;

pub(super) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sources").join(name)
}

/// Lists an archive with the default columns; an error is returned as text.
pub(super) fn listed(path: &Path) -> Result<Vec<Met>, String> {
    listed_by(path, &Columns::default())
}

pub(super) fn listed_by(path: &Path, columns: &Columns) -> Result<Vec<Met>, String> {
    list(path, Form::of(path).expect("a form"), columns, &mut |_| Ok(())).map_err(|error| match error {
        ListError::Archive(Reason { kind, text }) => format!("{}: {text}", kind.word()),
        ListError::Column(key, text) => format!("{key}: {text}"),
        ListError::Interrupted(_) => "interrupted".to_string(),
    })
}

/// The bytes of a member.
pub(super) fn bytes(member: &Member) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    in_pieces(member.open(1 << 30)?, |piece| all.extend_from_slice(piece))?;
    Ok(all)
}

/// Members that are not pictures: path and kind.
pub(super) fn aside(met: &[Met]) -> Vec<(&str, &'static str)> {
    met.iter().filter_map(|met| Some((met.path.as_str(), met.content.as_ref().err()?.kind.word()))).collect()
}

fn wanted() -> Wanted {
    serde_json::from_slice(&std::fs::read(golden("sources.json")).expect("read")).expect("JSON")
}

#[test]
fn archives_of_other_programs_give_the_same_pictures() {
    let wanted = wanted();
    assert!(wanted.len() >= 15);
    for (name, wanted) in wanted {
        let met = listed(&golden(&name)).expect(&name);
        let pictures = met.iter().filter_map(|met| Some((met, met.content.as_ref().ok()?)));
        let found = pictures.map(|(met, member)| {
            let bytes = bytes(member).expect(&name);
            assert_eq!(bytes.len() as u64, member.bytes, "{name}");
            let sum: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            (met.path.clone(), sum, met.label.as_deref().map(String::from))
        });
        let found: Vec<_> = found.collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn the_rest_has_a_kind() {
    let odd = listed(&golden("odd.tar")).expect("listed");
    let kinds = [
        ("a/link.jpg", "link"),
        ("a/hard.jpg", "link"),
        ("a/fifo.jpg", "not_a_file"),
        ("../out.jpg", "bad_name"),
        ("a/.hidden.jpg", "hidden"),
        ("a/._0.jpg", "resource_fork"),
        ("__MACOSX/", "file_manager"),
        ("a/notes.txt.bak", "extension"),
        ("", "duplicate"),
    ];
    assert_eq!(aside(&odd), kinds);
    let sparse = listed(&golden("sparse.tar")).expect("listed");
    assert_eq!(aside(&sparse), [("holes.jpg", "sparse")]);
    let zip = listed(&golden("plain.zip")).expect("listed");
    let kinds = [
        ("Training/bzip2.jpg", "compression"),
        ("Training/link.jpg", "link"),
        ("__MACOSX/", "file_manager"),
        ("", "duplicate"),
    ];
    assert_eq!(aside(&zip), kinds);
    assert_eq!(aside(&listed(&golden("plain.parquet")).expect("listed")), [("000008", "missing")]);
    // sidecars that contain a class are not listed
    assert_eq!(aside(&listed(&golden("samples.tar")).expect("listed")), []);
}

#[test]
fn any_order_and_many_threads_give_the_same_bytes() {
    for name in wanted().keys() {
        let met = listed(&golden(name)).expect(name);
        let members: Vec<&Member> = met.iter().filter_map(|met| met.content.as_ref().ok()).collect();
        let plain: Vec<Vec<u8>> = members.iter().map(|member| bytes(member).expect(name)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (members, plain) = (&members, &plain);
                scope.spawn(move || {
                    for i in 0..3 * members.len() {
                        let i = (i * 5 + thread) % members.len();
                        assert!(bytes(members[i]).expect(name) == plain[i], "{name}: {i}");
                    }
                });
            }
        });
    }
}

#[test]
fn archives_cut_short_are_told_and_give_what_is_whole() {
    let dir = tempfile::tempdir().expect("folder");
    for name in ["ustar.tar", "pax.tar", "gnu.tar.gz", "gnu.tar.zst", "plain.zip", "plain.parquet", "file.arrow"] {
        let whole = std::fs::read(golden(name)).expect("read");
        let all = listed(&golden(name)).expect(name);
        let sound = aside(&all);
        for cut in (0..whole.len()).step_by(whole.len() / 23) {
            let path = dir.path().join(format!("{cut}-{name}"));
            std::fs::write(&path, &whole[..cut]).expect("written");
            let Ok(met) = listed(&path) else { continue };
            let told = aside(&met).into_iter().any(|one| one == ("", "damaged") || !sound.contains(&one));
            // the padding after the end of a tar may be missing
            let complete = met.iter().filter(|met| met.content.is_ok()).count() == all.len() - sound.len();
            assert!(told || complete, "{name} of {cut} bytes: {met:?}");
            for met in met.iter().filter(|met| met.content.is_ok()) {
                let original = all.iter().find(|one| one.path == met.path).expect("a picture of the whole");
                let [part, original] = [met, original].map(|met| met.content.clone().expect("a member"));
                assert_eq!(bytes(&part).expect("read"), bytes(&original).expect("read"), "{name} of {cut} bytes");
            }
        }
    }
}

#[test]
fn an_archive_that_changes_is_not_read_on() {
    let dir = tempfile::tempdir().expect("folder");
    for name in ["ustar.tar", "gnu.tar.gz", "plain.zip", "plain.parquet"] {
        let path = dir.path().join(name);
        std::fs::copy(golden(name), &path).expect("copied");
        let met = listed(&path).expect("listed");
        let member = met.iter().find_map(|met| met.content.clone().ok()).expect("a picture");
        assert_eq!(member.stamp(), 0, "it was written just now");
        let file = File::options().append(true).open(&path).expect("opened");
        file.set_modified(std::time::UNIX_EPOCH).expect("set");
        assert_eq!(bytes(&member).expect_err("changed").kind, "changed");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(bytes(&member).expect_err("gone").kind, "vanished");
    }
    for (name, content) in
        [("a.tar", "text"), ("a.zip", "text"), ("a.parquet", "text"), ("a.arrow", "text"), ("b.tar", ""), ("b.zip", "")]
    {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        assert!(listed(&path).is_err(), "{name}");
    }
}

#[test]
fn a_member_longer_than_a_picture_is_refused_unread() {
    let met = listed(&golden("ustar.tar")).expect("listed");
    let member = met[0].content.clone().expect("a picture");
    assert_eq!(member.open(member.bytes - 1).expect_err("too large").kind, "too_large");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_archives_end_with_a_word(
        which in 0..8_usize, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = "odd.tar pax.tar gnu.tar.gz gnu.tar.zst plain.zip plain.parquet file.arrow polars.parquet";
        let name = names.split(' ').nth(which).expect("a name");
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join(name);
        let mut contents = std::fs::read(golden(name)).expect("read");
        for (at, byte) in flips {
            let at = at.index(contents.len());
            contents[at] ^= byte;
        }
        std::fs::write(&path, contents).expect("written");
        for met in listed(&path).into_iter().flatten() {
            if let Ok(member) = met.content
                && let Ok(bytes) = bytes(&member)
            {
                prop_assert_eq!(bytes.len() as u64, member.bytes);
            }
        }
    }
}
