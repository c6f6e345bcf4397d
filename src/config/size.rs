//! An amount of memory with its unit.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Bytes, from a megabyte to a petabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

/// The units, larger ones first.
const UNITS: [(&str, u64); 6] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", MEGABYTE),
];
const MEGABYTE: u64 = 1_000_000;
const MOST: u64 = 1_000_000_000_000_000;

/// The text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", Size::EXPECTED)]
pub struct NoSize;

impl Size {
    /// The accepted texts, for errors.
    pub const EXPECTED: &'static str = "a size from 1MB to 1000TB, such as `2GiB` or `500MB`";

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    fn of(bytes: f64) -> Result<Self, NoSize> {
        // no range contains NaN
        if (MEGABYTE as f64..=MOST as f64).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(NoSize) }
    }

    /// A size in megabytes, the unit of a number without a unit.
    pub fn of_megabytes(number: u64) -> Result<Self, NoSize> {
        Self::of(number as f64 * MEGABYTE as f64)
    }
}

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.trim_end().parse().map_err(|_| NoSize)?;
        let unit = match unit {
            "" => MEGABYTE,
            unit => UNITS.into_iter().find(|(word, _)| unit.eq_ignore_ascii_case(word)).ok_or(NoSize)?.1,
        };
        Self::of(number * unit as f64)
    }
}

impl fmt::Display for Size {
    /// Writes the size in the largest unit in which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((word, unit)) => write!(f, "{}{word}", self.0 / unit),
            None => write!(f, "{}MB", self.0 as f64 / MEGABYTE as f64),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("2GiB", 2 << 30, "2GiB"),
            ("500MB", 500_000_000, "500MB"),
            ("500", 500_000_000, "500MB"),
            ("1.5 gib", 3 << 29, "1536MiB"),
            ("1MB", 1_000_000, "1MB"),
            ("1000TB", 1_000_000_000_000_000, "1000TB"),
            ("1.2345678MB", 1_234_567, "1.234567MB"),
        ] {
            let size: Size = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
            assert_eq!(shown.parse(), Ok(size));
        }
    }

    #[test]
    fn other_texts_and_sizes_out_of_range_are_refused() {
        for text in ["", "GiB", "0", "0.5MB", "1001TB", "-2GiB", "2g", "2GiBs", "1e400GB", "nan", "inf", "2 GiB 3"] {
            assert_eq!(text.parse::<Size>(), Err(NoSize), "{text}");
        }
        assert_eq!(Size::of_megabytes(0), Err(NoSize));
        assert_eq!(Size::of_megabytes(u64::MAX), Err(NoSize));
    }
}
