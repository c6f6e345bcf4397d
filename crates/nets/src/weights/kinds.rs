//! Recognises files without weights, such as broken downloads and files given by mistake, and names their format.

use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

use super::WeightError;
use crate::files::regular;

/// Bytes at the start of a file that are enough to recognise it.
const HEAD: u64 = 1024;
/// Most names of a zip's entries in a message.
const SHOWN: usize = 3;

/// First bytes of formats, and the end of the message about such a file.
const BEGINNINGS: [(&[u8], &str); 16] = [
    (
        b"version https://git-lfs",
        "it is a pointer of Git LFS, not the file that it stands for; `git lfs pull` in its repository brings that, or \
         download it",
    ),
    (b"\xff\xd8\xff", "it is a picture (JPEG)"),
    (b"\x89PNG\r\n", "it is a picture (PNG)"),
    (b"%PDF-", "it is a document (PDF)"),
    (b"\x1f\x8b", "it is packed by gzip; unpack it"),
    (b"\xfd7zXZ\0", "it is packed by xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "it is packed by zstd; unpack it"),
    (b"BZh", "it is packed by bzip2; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "it is an archive (7z); unpack it"),
    (b"Rar!\x1a\x07", "it is an archive (RAR); unpack it"),
    (b"\x93NUMPY", "it is an array of numpy; save the weights as safetensors or by `torch.save`"),
    (b"GGUF", "it is a language model (GGUF), not the weights of an image network"),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];
const PICKLE: &str =
    "it is a pickle that `torch.save` did not write; load it in Python and `torch.save` its dictionary of tensors";

/// The first bytes of the file at `path`.
pub(super) fn head(path: &Path) -> Result<Vec<u8>, WeightError> {
    let mut head = Vec::new();
    let read = regular::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map(|_| head).map_err(|error| WeightError::Read { path: path.to_path_buf(), error })
}

/// A description of a file that no reader supports, and advice; `head` are its first bytes. None where it may be a
/// damaged weight file.
pub(super) fn foreign(path: &Path, head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if head.is_empty() {
        return Some("it is empty, 0 bytes; download it again".to_string());
    }
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
        return Some(what.to_string());
    }
    if ["<!doctype", "<html", "<head", "<?xml", "<!--"].iter().any(|tag| text.starts_with(tag)) {
        let why = "the server sent a login, a warning or an error instead of the file; download it again";
        return Some(format!("it is a web page, not weights: {why}"));
    }
    if text.starts_with('{') {
        return Some("it is JSON, and no index of shards, which has the key `weight_map`".to_string());
    }
    if head.starts_with(b"PK") {
        return Some(zip(path));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some("it is an archive (tar); unpack it".to_string());
    }
    if head.get(4..8) == Some(b"TFL3")
        || name.ends_with(".pb")
        || name.contains(".ckpt.")
        || name.contains(".data-0000")
    {
        let way = "load the network in Keras and `model.save_weights('x.weights.h5')`";
        return Some(format!("it is a file of TensorFlow, which is not read; {way}"));
    }
    None
}

/// A description of a zip that is neither PyTorch's nor Keras'.
fn zip(path: &Path) -> String {
    let zip = regular::open(path).ok().and_then(|file| ZipArchive::new(file).ok());
    let Some(zip) = zip else {
        return "it begins like a zip, but has no directory at its end: is the file whole? Download it again"
            .to_string();
    };
    let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        return "it holds arrays of numpy (.npz); save the weights as safetensors or by `torch.save`".to_string();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!(
        "it is a zip of {} files ({}{more}), with neither the `data.pkl` of PyTorch nor the `model.weights.h5` of \
         Keras; is it to be unpacked?",
        names.len(),
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::weights::WeightFile;

    fn zipped(names: &[&str]) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut zip = zip::ZipWriter::new(&mut bytes);
        for name in names {
            zip.start_file::<_, ()>(*name, Default::default()).expect("started");
            zip.write_all(b"x").expect("written");
        }
        zip.finish().expect("written");
        bytes.into_inner()
    }

    #[test]
    fn what_is_no_weight_file_is_called_what_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let npz = zipped(&["a.npy", "b.npy"]);
        let other = zipped(&["a", "b", "c", "d"]);
        let cases: [(&[u8], &str); 14] = [
            (b"", "it is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46830571\n", "a pointer of Git LFS"),
            (b"<!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "a web page"),
            (b"\xef\xbb\xbf \n<HTML>", "a web page"),
            (b"{\"a\": 1}", "JSON, and no index of shards"),
            (b"{\"a\": 1", "JSON, and no index of shards"),
            (b"\xff\xd8\xff\xe0", "a picture (JPEG)"),
            (b"\x1f\x8b\x08", "packed by gzip"),
            (b"\x93NUMPY\x01", "an array of numpy"),
            (b"\x80\x04}.", "a pickle that `torch.save` did not write"),
            (b"PK\x03\x04 and no more", "is the file whole?"),
            (&npz, "arrays of numpy (.npz)"),
            (&other, "a zip of 4 files (`a`, `b`, `c`, …), with neither"),
            (b"nothing of this kind", "it is not safetensors, or cut off"),
        ];
        let path = dir.path().join("w.pth");
        for (bytes, expected) in cases {
            std::fs::write(&path, bytes).expect("written");
            let error = WeightFile::open(&path).expect_err("no weights").to_string();
            assert!(error.contains("w.pth is not a sound weight file: ") && error.contains(expected), "{error}");
        }
        let tensorflow = dir.path().join("model.ckpt.data-00000-of-00001");
        std::fs::write(&tensorflow, [7; 100]).expect("written");
        let error = WeightFile::open(&tensorflow).expect_err("no weights").to_string();
        assert!(error.contains("a file of TensorFlow"), "{error}");
    }
}
