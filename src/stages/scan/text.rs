//! Reads a table as records: UTF-8 or UTF-16, separated by commas, semicolons, tabs or bars. A line longer than the
//! limit is not held in memory.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use crate::pictures::source::open;

/// The longest line, in bytes: an unclosed quote makes one line of the rest of the file.
pub const LINE: u64 = 1 << 20;
/// The bytes at the beginning that are searched for byte order marks and separators.
const HEAD: u64 = 1 << 16;
/// The separators of fields; of equally frequent ones the first is used.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A table that is being read.
pub struct Text<'a> {
    path: &'a Path,
    reader: csv::Reader<Bounded>,
    /// Lines before the header that are not part of the table.
    skipped: u64,
}

impl<'a> Text<'a> {
    /// Opens the table; an error if the file is not a table.
    pub fn open(path: &'a Path) -> io::Result<Self> {
        let Beginning { head, rest, skipped } = Beginning::of(path)?;
        let delimiter = separator(&head);
        let input = Bounded { inner: Box::new(Cursor::new(head).chain(rest)), given: 0, allowed: LINE };
        Ok(Self { path, reader: csv::ReaderBuilder::new().delimiter(delimiter).from_reader(input), skipped })
    }

    /// The names of the columns.
    pub fn header(&mut self) -> Result<Vec<String>, String> {
        let header = self.reader.byte_headers().map_err(|error| reason(&error))?;
        if header.iter().all(|name| name.trim_ascii().is_empty()) {
            return Err("its first line is empty; it is to name the columns, as `path,label,split`".into());
        }
        Ok(header.iter().map(|name| String::from_utf8_lossy(name).trim().to_string()).collect())
    }

    /// The position of the next record.
    pub fn position(&self) -> csv::Position {
        self.reader.position().clone()
    }

    /// Reads the next record; false at the end.
    pub fn read(&mut self, record: &mut csv::ByteRecord) -> Result<bool, String> {
        let allowed = self.reader.position().byte() + LINE;
        self.reader.get_mut().allowed = allowed;
        self.reader.read_byte_record(record).map_err(|error| reason(&error))
    }

    /// Returns the line of a record that begins at `start`. The reader has not yet read the `\n` of the `\r\n` before
    /// it, nor empty lines.
    pub fn line_at(&self, start: &csv::Position) -> u64 {
        let ends = || -> io::Result<u64> {
            let Beginning { head, rest, .. } = Beginning::of(self.path)?;
            let mut text = BufReader::new(Cursor::new(head).chain(rest));
            io::copy(&mut text.by_ref().take(start.byte()), &mut io::sink())?;
            let mut ends = 0;
            for byte in text.bytes() {
                match byte? {
                    b'\n' => ends += 1,
                    b'\r' => {}
                    _ => break,
                }
            }
            Ok(ends)
        };
        self.skipped + start.line() + ends().unwrap_or(0)
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, the header has {expected_len}")
        }
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// The beginning of a table as UTF-8 without a byte order mark, and the rest.
struct Beginning {
    head: Vec<u8>,
    rest: Box<dyn Read>,
    skipped: u64,
}

impl Beginning {
    fn of(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(
                "it is no regular file (a folder, a pipe or a device); save the table as a file",
            ));
        }
        let mut mark = Vec::new();
        (&file).take(3).read_to_end(&mut mark)?;
        let mut text: Box<dyn Read> = match mark[..] {
            [0xef, 0xbb, 0xbf] => Box::new(file),
            [0xff, 0xfe, ..] => Box::new(Utf16::new(Cursor::new(mark[2..].to_vec()).chain(file), u16::from_le_bytes)),
            [0xfe, 0xff, ..] => Box::new(Utf16::new(Cursor::new(mark[2..].to_vec()).chain(file), u16::from_be_bytes)),
            _ => Box::new(Cursor::new(mark).chain(file)),
        };
        let mut head = Vec::new();
        text.by_ref().take(HEAD).read_to_end(&mut head)?;
        if head.contains(&0) {
            return Err(io::Error::other("it is no text; save the table as CSV in UTF-8"));
        }
        // Excel may write the separator into the first line
        let first = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
        let named = head.len() > 4 && head[..4].eq_ignore_ascii_case(b"sep=") && first <= 6;
        if named {
            head.drain(..(first + 1).min(head.len()));
        }
        Ok(Self { head, rest: text, skipped: u64::from(named) })
    }
}

/// Returns the most frequent separator of the header, outside of quotes.
fn separator(head: &[u8]) -> u8 {
    let line = head.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.trim_ascii().is_empty());
    let mut counts = [0_usize; SEPARATORS.len()];
    let mut quoted = false;
    for byte in line.unwrap_or_default() {
        quoted ^= *byte == b'"';
        if let Some(i) = SEPARATORS.iter().position(|one| one == byte && !quoted) {
            counts[i] += 1;
        }
    }
    let most = (1..counts.len()).fold(0, |most, i| if counts[i] > counts[most] { i } else { most });
    SEPARATORS[most]
}

/// A reader that returns no more than `allowed` bytes.
struct Bounded {
    inner: Box<dyn Read>,
    given: u64,
    allowed: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.allowed.saturating_sub(self.given)).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 && !buffer.is_empty() {
            let text =
                format!("it is longer than {LINE} bytes, the most that a line may have; is a closing quote missing?");
            return Err(io::Error::other(text));
        }
        let n = self.inner.read(&mut buffer[..room])?;
        self.given += n as u64;
        Ok(n)
    }
}

/// Converts UTF-16 to UTF-8; unpaired surrogates become U+FFFD.
struct Utf16<R> {
    inner: R,
    unit: fn([u8; 2]) -> u16,
    /// The first surrogate of a pair whose second is not read yet.
    half: Option<u16>,
    text: Cursor<Vec<u8>>,
}

impl<R: Read> Utf16<R> {
    fn new(inner: R, unit: fn([u8; 2]) -> u16) -> Self {
        Self { inner, unit, half: None, text: Cursor::default() }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(1 << 13).read_to_end(&mut bytes)?;
        let ended = bytes.len() < 1 << 13;
        let mut units: Vec<u16> = self.half.take().into_iter().collect();
        units.extend(bytes.chunks_exact(2).map(|pair| (self.unit)([pair[0], pair[1]])));
        if !ended && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.half = units.pop();
        }
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        self.text = Cursor::new(text.into_bytes());
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.text.read(buffer)?;
        if n > 0 || buffer.is_empty() {
            return Ok(n);
        }
        self.fill()?;
        self.text.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Result<Vec<Vec<String>>, String> {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("t.csv");
        std::fs::write(&path, bytes).expect("written");
        let mut text = Text::open(&path).map_err(|error| error.to_string())?;
        let mut all = vec![text.header()?];
        let mut record = csv::ByteRecord::new();
        while text.read(&mut record)? {
            all.push(record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect());
        }
        Ok(all)
    }

    #[test]
    fn every_program_writes_the_same_table() {
        let plain = "path,label\na/é😀.jpg,\"x,y\"\nb.jpg,z\n";
        let wanted = [["path", "label"], ["a/é😀.jpg", "x,y"], ["b.jpg", "z"]];
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once('\u{feff}').chain(plain.chars()).collect::<String>().encode_utf16().flat_map(unit).collect()
        };
        let separated = |by: &str| plain.replace("\"x,y\"", "x;y").replace(',', by).replace("x;y", "\"x,y\"");
        for (what, bytes) in [
            ("UTF-8", plain.as_bytes().to_vec()),
            ("UTF-8 with its mark", format!("\u{feff}{plain}").into_bytes()),
            ("UTF-16, small end first", utf16(u16::to_le_bytes)),
            ("UTF-16, big end first", utf16(u16::to_be_bytes)),
            ("semicolons", separated(";").into_bytes()),
            ("tabs", separated("\t").into_bytes()),
            ("bars, an empty line", format!("\r\n{}", separated("|")).into_bytes()),
            ("a line that names the separator", format!("sep=;\r\n{}", separated(";")).into_bytes()),
            ("line ends of Windows", plain.replace('\n', "\r\n").into_bytes()),
            ("line ends of old Macs", plain.replace('\n', "\r").into_bytes()),
        ] {
            assert_eq!(records(&bytes).expect(what), wanted, "{what}");
        }
        // surrogate pairs that are split between two reads
        let long: String = "😀".repeat(5000);
        let bytes: Vec<u8> = format!("\u{feff}a{long}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(records(&bytes).expect("long"), [[format!("a{long}")]]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_is_held() {
        let line = |n: usize| format!("path,label\na,{}\nb,c\n", "x".repeat(n));
        let most = LINE as usize - 16;
        assert_eq!(records(line(most).as_bytes()).expect("read")[2], ["b", "c"]);
        for bytes in [line(LINE as usize), format!("path,label\na,\"{}", "x\n".repeat(LINE as usize))] {
            assert!(records(bytes.as_bytes()).expect_err("too long").contains("longer than 1048576 bytes"));
        }
        assert!(records("x".repeat(2 << 20).as_bytes()).expect_err("a header").contains("longer than"));
        for empty in [&b""[..], b"\n\n", b"\xef\xbb\xbf", b"  \n", b",,\n"] {
            assert!(records(empty).expect_err("no header").contains("its first line is empty"), "{empty:?}");
        }
        assert!(records(b"PK\x03\x04\0\0").expect_err("a spreadsheet").contains("no text"));
    }
}
