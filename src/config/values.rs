//! Readers of values that may be written in more than one way: a number or a word, one number or a list.
//!
//! Each is a visitor of its own, since serde's untagged enums lose the place and the text of an error.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::size::Size;
use super::train::Train;
pub use crate::learn::hyperparameters::auto_or_whole;

/// Reads a section that is there, even with nothing in it: `report:`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads `train`: keys and values, or a list of classifiers to compare.
pub fn train<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Train>, D::Error> {
    struct KeysOrList;

    impl<'de> Visitor<'de> for KeysOrList {
        type Value = Option<Train>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let keys = "`mlp`, `logistic`, `knn`, `candidates`, `cv` or `group_by`";
            write!(f, "keys and values ({keys}), or a list of classifiers")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Some(Train::default()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut candidates = Vec::new();
            while let Some(item) = items.next_element()? {
                candidates.push(item);
            }
            Ok(Some(Train { candidates, ..Train::default() }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Train::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(KeysOrList)
}

/// Reads `auto` as `None`, a size with its unit, or a number of megabytes.
pub fn auto_or_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    struct AutoOrSize;

    impl Visitor<'_> for AutoOrSize {
        type Value = Option<Size>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, a number of MB, or `auto`", Size::EXPECTED)
        }

        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            Size::of_megabytes(v).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(v), &self))
        }

        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            match v {
                "auto" => Ok(None),
                v => v.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(v), &self)),
            }
        }
    }

    deserializer.deserialize_any(AutoOrSize)
}

/// Reads `white`, `black` or three levels of red, green and blue.
pub fn colour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 3], D::Error> {
    struct Colour;

    impl<'de> Visitor<'de> for Colour {
        type Value = [u8; 3];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`white`, `black` or three levels from 0 to 255, `[red, green, blue]`")
        }

        fn visit_str<E: Error>(self, v: &str) -> Result<[u8; 3], E> {
            match v {
                "white" => Ok([255; 3]),
                "black" => Ok([0; 3]),
                _ => Err(E::invalid_value(Unexpected::Str(v), &self)),
            }
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[u8; 3], A::Error> {
            let mut levels = Vec::new();
            while let Some(level) = items.next_element::<u64>()? {
                let level =
                    u8::try_from(level).map_err(|_| A::Error::invalid_value(Unexpected::Unsigned(level), &self))?;
                levels.push(level);
            }
            <[u8; 3]>::try_from(levels.as_slice()).map_err(|_| A::Error::invalid_length(levels.len(), &self))
        }
    }

    deserializer.deserialize_any(Colour)
}
