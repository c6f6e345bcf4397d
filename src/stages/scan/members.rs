//! Pictures in archives and tables that are named by their paths: `photos.tar`, `photos.tar/cats`,
//! `photos.tar/cats/1.jpg`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::list::NamedFile;
use super::{Kind, archives, escape};
use crate::config::PictureColumns;
use crate::pictures::source::Failure;
use crate::pictures::source::archive::Form;
use crate::progress::Interrupted;

/// The archives named so far; each is listed once.
#[derive(Debug, Default)]
pub struct Members {
    columns: PictureColumns,
    archives: HashMap<PathBuf, Pictures>,
}

/// The pictures in an archive, and the index of each by its path.
#[derive(Debug)]
struct Pictures {
    /// The name of the archive.
    shown: String,
    all: Vec<NamedFile>,
    places: HashMap<String, usize>,
}

impl Members {
    /// Reads tables by these columns.
    pub fn with_columns(columns: PictureColumns) -> Self {
        Self { columns, archives: HashMap::new() }
    }

    /// The pictures at `path` or below it; none where it does not lead into an archive.
    pub fn at(&mut self, path: &Path) -> Result<Option<Vec<NamedFile>>, Interrupted> {
        let Some((archive, name)) = self.find(path)? else { return Ok(None) };
        if name == archive.shown {
            return Ok(Some(archive.all.clone()));
        }
        let folder = format!("{name}/");
        let below = archive.all.iter().filter(|picture| picture.path.starts_with(&folder));
        let below: Vec<NamedFile> = below.cloned().collect();
        Ok(Some(if below.is_empty() { vec![archive.picture(name)] } else { below }))
    }

    /// The picture at `path`, or the reason why there is none; none where it does not lead into an archive.
    pub fn one(&mut self, path: &Path) -> Result<Option<NamedFile>, Interrupted> {
        let found = self.find(path)?.filter(|(archive, name)| *name != archive.shown);
        Ok(found.map(|(archive, name)| archive.picture(name)))
    }

    /// The archive into which `path` leads, and the name of a picture at `path`.
    fn find(&mut self, path: &Path) -> Result<Option<(&Pictures, String)>, Interrupted> {
        let form = |file: &Path| Form::of(file).filter(|_| file.is_file());
        let Some((archive, form)) = path.ancestors().find_map(|file| Some((file, form(file)?))) else {
            return Ok(None);
        };
        if !self.archives.contains_key(archive) {
            let shown = escape(archive.as_os_str().as_encoded_bytes()).into_owned();
            let all = archives::named(archive, form, &shown, &self.columns)?;
            let places = all.iter().enumerate().map(|(place, picture)| (picture.path.clone(), place)).collect();
            self.archives.insert(archive.to_path_buf(), Pictures { shown, all, places });
        }
        let archive_of = &self.archives[archive];
        let inside = path.strip_prefix(archive).unwrap_or(Path::new(""));
        let parts = inside.iter().map(|part| escape(part.as_encoded_bytes()));
        let name = parts.fold(archive_of.shown.clone(), |name, part| name + "/" + &part);
        Ok(Some((archive_of, name)))
    }
}

impl Pictures {
    /// The picture called `name`, or the reason why there is none.
    fn picture(&self, name: String) -> NamedFile {
        if let Some(&place) = self.places.get(&name) {
            return self.all[place].clone();
        }
        // an archive that cannot be listed has one entry, with the reason
        let reason = self.places.get(&self.shown).and_then(|&place| self.all[place].location.clone().err());
        let absent = || Failure::new(Kind::Missing.word(), format!("{} has no picture of this name", self.shown));
        let reason = reason.unwrap_or_else(absent);
        NamedFile::new(name, Err(reason))
    }
}
