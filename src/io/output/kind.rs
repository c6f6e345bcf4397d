//! The kinds of files that a command writes, and the detection of an existing file's kind from its first bytes.

use std::path::Path;

use crate::image;

/// The comment among the first bytes of every PNG and JPEG that featurize draws for the user.
pub const SIGNATURE: &[u8] = b"drawn by featurize";

/// The kind of file that an output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Parquet,
    Csv,
    Png,
    Jpeg,
    Svg,
    Yaml,
    Html,
    Onnx,
    Markdown,
    /// A manual page for `man`.
    Manual,
}

/// The first bytes of kinds of files that a table or a drawing must not replace. `image::sniff` recognises pictures.
const BEGINNINGS: [(&[u8], &str); 16] = [
    (b"PAR1", "a Parquet table"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x03\x04", "an archive or a file of weights (zip)"),
    (b"PK\x05\x06", "an archive (zip)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"%PDF", "a PDF"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"SQLite format 3", "a database"),
    (b"ARROW1", "an Arrow table"),
    (b"\x7fELF", "a program"),
    (b"#!", "a script"),
    (b"\x80\x02", "a pickle of Python"),
    (b"\x80\x04", "a pickle of Python"),
];

impl FileKind {
    /// The name of the kind, without an article.
    pub fn word(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet table",
            Self::Csv => "CSV table",
            Self::Png => "PNG picture",
            Self::Jpeg => "JPEG picture",
            Self::Svg => "SVG drawing",
            Self::Yaml => "YAML file",
            Self::Html => "page (HTML)",
            Self::Onnx => "ONNX file",
            Self::Markdown => "Markdown page",
            Self::Manual => "manual page",
        }
    }

    /// The file extensions of the kind, in lower case.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Parquet => &["parquet", "pq"],
            Self::Csv => &["csv"],
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif", "pjp", "pjpeg"],
            Self::Svg => &["svg"],
            Self::Yaml => &["yaml", "yml"],
            Self::Html => &["html", "htm"],
            Self::Onnx => &["onnx"],
            Self::Markdown => &["md", "markdown"],
            Self::Manual => &["1"],
        }
    }

    /// Whether a terminal cannot show the file.
    pub(super) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Png | Self::Jpeg | Self::Onnx)
    }

    /// Whether another command may read the file as a picture.
    pub(super) fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg)
    }

    /// Returns the kind of a file that begins with `head` if it is another one than this. A file whose beginning is
    /// unknown is of this kind if its extension is.
    pub(super) fn foreign(self, path: &Path, head: &[u8]) -> Option<String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let named = extension.is_some_and(|extension| self.extensions().contains(&extension.as_str()));
        let text = std::str::from_utf8(head).is_ok_and(|text| !text.contains('\0'));
        let own = match self {
            Self::Parquet => head.starts_with(b"PAR1"),
            Self::Png => head.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Jpeg => head.starts_with(b"\xff\xd8\xff"),
            Self::Svg => has(head, b"<svg"),
            Self::Manual => has(head, b".TH "),
            // a message of protobuf whose first field is the version of the format
            Self::Onnx => named && head.starts_with(b"\x08"),
            Self::Csv | Self::Yaml | Self::Html | Self::Markdown => false,
        };
        if own || head.is_empty() {
            return None;
        }
        if let Some((_, name)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
            return Some((*name).to_string());
        }
        // The beginning of a text may look like that of a picture (`BM`, `P3`).
        if matches!(self, Self::Csv | Self::Yaml | Self::Html | Self::Markdown) && named && text && !has(head, b"<svg")
        {
            return None;
        }
        picture_or_weights(head)
            .or_else(|| (!named).then(|| if text { "text".into() } else { "a file of another kind".into() }))
    }
}

fn picture_or_weights(head: &[u8]) -> Option<String> {
    let is_safetensors = head.get(8) == Some(&b'{') && head[4..8] == [0; 4];
    if is_safetensors {
        return Some("a file of weights (safetensors)".into());
    }
    match image::sniff(head) {
        Err(error) if error.kind != image::DecodeErrorKind::Unsupported => None,
        _ => Some("a picture".into()),
    }
}

/// Whether featurize drew the picture.
pub(super) fn is_signed(head: &[u8]) -> bool {
    has(head, SIGNATURE)
}

fn has(head: &[u8], part: &[u8]) -> bool {
    head.windows(part.len()).any(|window| window == part)
}
