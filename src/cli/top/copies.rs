//! Annotated copies of pictures: names their files and writes them.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::cli::usage;
use crate::error::Error;
use crate::image::{RgbImage, jpeg, png};
use crate::io::output::{FileKind, Output, Rules};
use crate::pictures::source::remote::is_url;
use crate::plot::{PlotError, labelled, signed};
use crate::stages::scan::NamedFile;

/// JPEG quality of a copy, 1 to 100; the loss is not visible.
const QUALITY: u8 = 92;

/// Maximum length of a file name in bytes; a copy may have a longer extension than its picture.
const LONGEST: usize = 255;

/// A folder of copies. It has the subfolders of the pictures, relative to their innermost common folder.
#[derive(Debug)]
pub struct Copies {
    /// The output of each copy, by the location of its picture.
    places: HashMap<PathBuf, Output>,
}

impl Copies {
    /// Chooses every name in `folder`. A picture that is in `folder` is refused: it could be overwritten, and copies of
    /// an earlier command would be labelled again.
    pub fn new(folder: &Path, pictures: &[NamedFile], rules: Rules) -> Result<Self, Error> {
        let real = std::fs::canonicalize(folder).ok();
        let locations = pictures.iter().filter_map(|picture| picture.location.as_deref().ok());
        if let Some(real) = &real
            && let Some(inside) = locations.clone().find(|path| is_inside(path, real))
        {
            return usage(format!(
                "the drawn copies cannot go to {}, where {} lies; name another folder",
                folder.display(),
                inside.display()
            ));
        }
        let paths: Vec<(&Path, Vec<OsString>)> = locations.map(|path| (path, parts(path))).collect();
        let above = shared(&paths);
        let (mut places, mut taken) = (HashMap::new(), HashSet::new());
        for (path, parts) in &paths {
            if !places.contains_key(*path) {
                let place = parts[above..].iter().collect::<PathBuf>();
                let place = folder.join(free(&place, &mut taken));
                places.insert(path.to_path_buf(), Output::new(&place, kind(&place), rules)?);
            }
        }
        Ok(Self { places })
    }

    /// Writes the copy of the picture at `path`, with `text` drawn in.
    pub fn write(&self, path: &Path, image: &RgbImage, text: &str) -> Result<(), PlotError> {
        let Some(output) = self.places.get(path) else { return Ok(()) };
        let image = labelled(image, text);
        let bytes = if is_jpeg(output.path()) { jpeg(&image, QUALITY) } else { png(&image) };
        let bytes = bytes.map_err(|error| PlotError::Encode { path: output.path().to_path_buf(), error })?;
        Ok(output.write_bytes(&signed(bytes))?)
    }
}

fn kind(place: &Path) -> FileKind {
    if is_jpeg(place) { FileKind::Jpeg } else { FileKind::Png }
}

fn is_inside(path: &Path, folder: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|path| path.starts_with(folder))
}

/// The folders and the name of a path, without `.` and `..`; of a URL, without its query.
fn parts(path: &Path) -> Vec<OsString> {
    let url = path.to_str().filter(|text| is_url(text)).and_then(|url| url.split(['?', '#']).next());
    let path = url.map_or(path, Path::new);
    let normal = |part: Component| if let Component::Normal(part) = part { Some(part.to_os_string()) } else { None };
    path.components().filter_map(normal).collect()
}

/// The number of leading folders that all paths share.
fn shared(paths: &[(&Path, Vec<OsString>)]) -> usize {
    let Some((_, first)) = paths.first() else { return 0 };
    let agree = |parts: &[OsString]| {
        let folders = parts.len().saturating_sub(1).min(first.len().saturating_sub(1));
        parts.iter().zip(first).take(folders).take_while(|(a, b)| a == b).count()
    };
    paths.iter().map(|(_, parts)| agree(parts)).min().unwrap_or(0)
}

/// `place` with an extension that can be written, and with a number if it is taken. Names are compared
/// case-insensitively, as some file systems do.
fn free(place: &Path, taken: &mut HashSet<String>) -> PathBuf {
    let ending = extension(place);
    let written = is_jpeg(place) || ending == "png";
    let stem = if written { place.file_stem() } else { place.file_name() }.unwrap_or_default().to_os_string();
    let ending = if written { place.extension().unwrap_or_default().to_os_string() } else { "png".into() };
    for number in 1.. {
        let number = if number > 1 { format!("-{number}") } else { String::new() };
        let mut name = shortened(&stem, LONGEST.saturating_sub(number.len() + 1 + ending.len()));
        name.push(number);
        name.push(".");
        name.push(&ending);
        let found = place.with_file_name(name);
        if taken.insert(found.to_string_lossy().to_lowercase()) {
            return found;
        }
    }
    place.to_path_buf()
}

/// Shortens a name to `most` bytes.
fn shortened(name: &OsStr, most: usize) -> OsString {
    if name.len() <= most {
        return name.to_os_string();
    }
    let text = name.to_string_lossy();
    text[..text.floor_char_boundary(most)].into()
}

fn extension(path: &Path) -> String {
    path.extension().map_or(String::new(), |extension| extension.to_string_lossy().to_ascii_lowercase())
}

fn is_jpeg(path: &Path) -> bool {
    ["jpg", "jpeg", "jpe", "jfif"].contains(&extension(path).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::output::Inputs;

    fn places(paths: &[&str]) -> Vec<String> {
        let picture = |path: &&str| NamedFile::new(path.to_string(), Ok(PathBuf::from(path)));
        let pictures: Vec<NamedFile> = paths.iter().map(picture).collect();
        let inputs = Inputs::default();
        let rules = Rules::new(&inputs, false);
        let copies = Copies::new(Path::new("no/such/folder"), &pictures, rules).expect("places");
        let place = |path: &&str| copies.places[Path::new(path)].path().strip_prefix("no/such/folder").expect("inside");
        paths.iter().map(place).map(|place| place.to_string_lossy().replace('\\', "/")).collect()
    }

    #[test]
    fn copies_lie_as_their_pictures_do_and_none_on_another() {
        assert_eq!(places(&["my/pictures/a/1.jpg", "my/pictures/b/1.jpg"]), ["a/1.jpg", "b/1.jpg"]);
        assert_eq!(places(&["my/pictures/a/1.jpg"]), ["1.jpg"]);
        assert_eq!(places(&["/x/1.PNG", "/y/2.jpeg"]), ["x/1.PNG", "y/2.jpeg"]);
        assert_eq!(
            places(&["1.webp", "1.webp.png", "1", "1.gif"]),
            ["1.webp.png", "1.webp-2.png", "1.png", "1.gif.png"]
        );
        assert_eq!(places(&["a/x.jpg", "../a/x.jpg", "a/X.jpg"]), ["x.jpg", "x-2.jpg", "X-3.jpg"]);
        assert_eq!(places(&["a.jpg", "a.jpg"]), ["a.jpg", "a.jpg"]);
        let long = "é".repeat(125);
        let places_of_long = places(&[&format!("{long}.webp"), &format!("{long}.webp.png")]);
        assert!(places_of_long.iter().all(|name| name.len() <= 255 && name.ends_with(".png")), "{places_of_long:?}");
        assert_ne!(places_of_long[0], places_of_long[1]);
        assert_eq!(places(&["a/b.jpg", "a/b.jpg/c.jpg"]), ["b.jpg", "b.jpg/c.jpg"]);
    }

    #[test]
    fn a_picture_in_the_folder_of_copies_is_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, b"x").expect("written");
        let inputs = Inputs::default();
        let rules = Rules::new(&inputs, false);
        let error = Copies::new(dir.path(), &[NamedFile::new("a.jpg".into(), Ok(path))], rules);
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("a.jpg lies; name another folder"), "{error}");
    }
}
