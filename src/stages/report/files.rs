//! Files that have no features: pictures that could not be read, and files that a rule left out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::data::{ReportData, Trouble};
use super::formatting::{count, plural};
use crate::image::data_uri;

/// The most files that are listed one by one.
const LISTED: usize = 50;
/// Longer side of a picture in this section, in pixels, twice the size that the page shows.
pub const LONGEST: usize = 96;
/// The kind of files whose decodable part is shown.
const TRUNCATED: &str = "truncated";

fn status(failed: bool) -> &'static str {
    if failed { "failed" } else { "skipped" }
}

/// The section of a run; none when every file has features. `picture` returns a JPEG of the decodable part of a file.
pub fn section<E>(
    data: &ReportData,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<Value>, E> {
    if data.troubles.is_empty() {
        return Ok(None);
    }
    let mut rows: Vec<_> = data.troubles.iter().collect();
    rows.sort_by_key(|trouble| !trouble.failed);
    let failed = rows.iter().filter(|trouble| trouble.failed).count();
    let rest = rows.len().saturating_sub(LISTED);
    let mut row = |trouble: &&Trouble| {
        let Trouble { path, failed, kind, reason } = trouble;
        // the decodable part of the picture
        let shown = if kind == TRUNCATED { picture(path)? } else { None };
        let source = shown.map(|jpeg| data_uri(&jpeg));
        Ok(json!({"status": status(*failed), "path": path, "reason": reason, "source": source}))
    };
    let listed: Vec<Value> = rows.iter().take(LISTED).map(&mut row).collect::<Result<_, E>>()?;
    let more = (rest > 0).then(|| count(rest));
    let (summary, reasons) = (summary(failed, rows.len() - failed), reasons(&data.troubles));
    Ok(Some(json!({"summary": summary, "reasons": reasons, "rows": listed, "more": more})))
}

/// The kinds of failed files, then those of skipped files, the most frequent first.
fn reasons(troubles: &[Trouble]) -> Vec<Value> {
    let mut kinds: BTreeMap<(bool, &str), (usize, &str)> = BTreeMap::new();
    for trouble in troubles {
        let (n, _) = kinds.entry((!trouble.failed, &trouble.kind)).or_insert((0, &trouble.reason));
        *n += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|&((skipped, _), (n, _))| (skipped, Reverse(n)));
    let reason = |((skipped, kind), (n, example)): ((bool, &str), (usize, &str))| {
        let meaning = meaning(kind).map_or_else(|| format!("such as: {example}"), String::from);
        json!({"status": status(!skipped), "kind": kind, "meaning": meaning, "count": count(n)})
    };
    kinds.into_iter().map(reason).collect()
}

fn summary(failed: usize, skipped: usize) -> String {
    let told = |n: usize, what: &str| (n > 0).then(|| format!("{} {what}", plural(n, "file")));
    let parts =
        [told(failed, "could not be read as a picture (failed)"), told(skipped, "left out by a rule (skipped)")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}. The table manifest.parquet lists every file.", parts.join(", "))
}

/// The meaning of a kind of the manifest; none for a kind that this version does not have.
fn meaning(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "empty" => "no bytes in the file",
        "not_an_image" => "the bytes are no picture of a format that is known",
        "unsupported" => "a format, or a form of one, that is not read",
        "truncated" => "the file, or its archive, ends before the picture does",
        "corrupt" => "the bytes contradict their format",
        "too_large" => "more pixels than `image.max_pixels`, or far more bytes than pixels need",
        "panicked" => "the decoder gave up on it",
        "unreadable" => "the system does not let it be read",
        "dangling_link" => "a link to nothing",
        "link_loop" => "a link to a folder above it, or to itself",
        "missing" => "named by the table and not there, or not on its server, or a row without a picture",
        "forbidden" => "its server gives it only to those who may read it",
        "unreachable" => "no server gave it, though servers answered; another time it may",
        "not_a_file" => "a FIFO, a socket or a device",
        "vanished" => "gone since it was listed",
        "changed" => "changed since it was listed",
        "hidden" => "a name that begins with a dot",
        "resource_fork" => "what macOS writes beside a file",
        "file_manager" => "what a file manager or a system leaves: a file, or a folder with all that is in it",
        "extension" => "an extension that no picture has",
        "folder_link" => "a link to a folder, and `input.follow_links` is false",
        "run_folder" => "in the folder that the run writes to",
        "not_an_archive" => "the file is no archive or table as its name says",
        "damaged" => "an archive or a member of one whose bytes are not as they should be",
        "encrypted" => "a member of an archive that only a password opens",
        "compression" => "compressed by a method that is not read",
        "sparse" => "a member of an archive that is stored with holes",
        "link" => "a link in an archive",
        "bad_name" => "a member of an archive whose name is no path below it",
        "duplicate" => "a member or a row with the name of another",
        "split" => "in no split of `input.split`",
        "no_class" => "in no class folder, or of no class by the pattern of `input.label`",
        "class" => "of a class that is not in `input.classes`",
        "limit" => "over `input.limit_per_class`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(path: &str, failed: bool, kind: &str) -> Trouble {
        Trouble { path: path.into(), failed, kind: kind.into(), reason: format!("{kind}: why") }
    }

    #[test]
    fn kinds_are_counted_and_only_what_is_cut_off_is_shown() {
        let mut troubles = vec![trouble("a.txt", false, "extension"), trouble("b.jpg", true, "truncated")];
        troubles.extend([trouble("c.jpg", true, "corrupt"), trouble("d.jpg", true, "truncated")]);
        troubles.push(trouble("e", true, "new"));
        let data = ReportData { troubles, ..ReportData::default() };
        let mut asked = Vec::new();
        let section = section::<()>(&data, |path| {
            asked.push(path.to_string());
            Ok((path == "b.jpg").then(|| vec![1, 2, 3]))
        });
        let section = section.expect("no error").expect("a section");
        assert_eq!(asked, ["b.jpg", "d.jpg"]);
        let reasons = section["reasons"].as_array().expect("reasons");
        let told: Vec<_> = reasons.iter().map(|one| json!([one["status"], one["kind"], one["count"]])).collect();
        let expected = [
            json!(["failed", "truncated", "2"]),
            json!(["failed", "corrupt", "1"]),
            json!(["failed", "new", "1"]),
            json!(["skipped", "extension", "1"]),
        ];
        assert_eq!(told, expected);
        assert_eq!(reasons[2]["meaning"], "such as: new: why");
        let rows = section["rows"].as_array().expect("rows");
        let shown: Vec<_> = rows.iter().map(|row| (row["path"].as_str(), !row["source"].is_null())).collect();
        let expected = [("b.jpg", true), ("c.jpg", false), ("d.jpg", false), ("e", false), ("a.txt", false)];
        assert_eq!(shown, expected.map(|(path, shown)| (Some(path), shown)));
    }

    #[test]
    fn every_kind_of_the_scan_and_of_the_decoder_has_a_meaning() {
        let documented = include_str!("../../../docs/files.md");
        let table = documented.split("| status  | kind |").nth(1).and_then(|rest| rest.split("\n\n").next());
        let kinds: Vec<&str> =
            table.unwrap_or_default().split('`').skip(1).step_by(2).filter(|word| !word.contains('.')).collect();
        assert!(kinds.len() > 20, "{kinds:?}");
        for kind in kinds {
            assert!(meaning(kind).is_some(), "{kind}");
        }
    }
}
