//! The reasons why a file found by the scan is not among the pictures.

use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

/// The value of the manifest's column `kind`, for files that were never decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The operating system denies reading it.
    Unreadable,
    /// An archive or a table without any bytes.
    Empty,
    /// A link to nothing.
    DanglingLink,
    /// A link to a folder above it.
    LinkLoop,
    /// Named in the table but missing.
    Missing,
    /// A FIFO, a socket, a device.
    NotAFile,
    /// A name that begins with a dot.
    Hidden,
    /// A file `._name` that macOS writes beside another file on other file systems.
    ResourceFork,
    /// `Thumbs.db`, `desktop.ini`, and folders such as `@eaDir` and `$RECYCLE.BIN`.
    FileManager,
    /// An extension that is not one of a picture.
    Extension,
    /// A link to a folder, while `input.follow_links` is false.
    FolderLink,
    /// The folder that the run writes to.
    RunFolder,
    /// The file is not an archive or table, unlike its name.
    NotAnArchive,
    /// An archive, or a member of one, with invalid bytes.
    Damaged,
    /// A member that extends over the end of its archive.
    Truncated,
    /// Larger than a picture can be.
    TooLarge,
    /// A member that is encrypted with a password.
    Encrypted,
    /// Compressed by a method that is not supported.
    Compression,
    /// A sparse member.
    Sparse,
    /// A link in an archive.
    Link,
    /// A member whose name is not a path below the archive.
    BadName,
    /// A member or a row with the name of another.
    Duplicate,
    /// In no split of `input.split`.
    Split,
    /// In no class folder.
    NoClass,
    /// Of a class that is not in `input.classes`.
    Class,
    /// Over `input.limit_per_class`.
    Limit,
}

impl Kind {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Unreadable => "unreadable",
            Kind::Empty => "empty",
            Kind::DanglingLink => "dangling_link",
            Kind::LinkLoop => "link_loop",
            Kind::Missing => "missing",
            Kind::NotAFile => "not_a_file",
            Kind::Hidden => "hidden",
            Kind::ResourceFork => "resource_fork",
            Kind::FileManager => "file_manager",
            Kind::Extension => "extension",
            Kind::FolderLink => "folder_link",
            Kind::RunFolder => "run_folder",
            Kind::NotAnArchive => "not_an_archive",
            Kind::Damaged => "damaged",
            Kind::Truncated => "truncated",
            Kind::TooLarge => "too_large",
            Kind::Encrypted => "encrypted",
            Kind::Compression => "compression",
            Kind::Sparse => "sparse",
            Kind::Link => "link",
            Kind::BadName => "bad_name",
            Kind::Duplicate => "duplicate",
            Kind::Split => "split",
            Kind::NoClass => "no_class",
            Kind::Class => "class",
            Kind::Limit => "limit",
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        let word: StrDeserializer<Error> = word.into_deserializer();
        Self::deserialize(word).ok()
    }

    /// True for a picture that cannot be read; false for a file that a rule leaves out.
    pub fn is_failed(self) -> bool {
        use Kind::*;
        let in_archives =
            matches!(self, NotAnArchive | Damaged | Truncated | TooLarge | Encrypted | Compression | Sparse);
        in_archives || matches!(self, Unreadable | Empty | DanglingLink | LinkLoop | Missing | NotAFile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_word() {
        for kind in [Kind::Unreadable, Kind::RunFolder, Kind::NotAnArchive, Kind::NoClass, Kind::Limit] {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
        assert_eq!(Kind::from_word("none"), None);
    }
}
