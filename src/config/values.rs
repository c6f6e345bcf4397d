//! Deserialisers of values that may be written in several forms: a number or a word, one number or a list.
//!
//! Each is a visitor of its own, since serde's untagged enums lose the place and the text of an error.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected};

use super::size::Size;
use super::train::{Auto, Train};
pub use crate::learn::hyperparameters::auto_or_whole;
use crate::learn::read_forms;

/// Reads a section that is written, even if it is empty: `report:`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads `train`: keys and values, `auto`, or a list of classifiers to compare.
pub fn train<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Train>, D::Error> {
    const EXPECTED: &str = "keys and values (`auto`, `mlp`, `logistic`, `knn`, `candidates`, `cv`, `group_by` or \
                            `calibrate`), `auto`, or a list of classifiers";
    read_forms!(deserializer, EXPECTED => Option<Train> {;
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Some(Train::default()))
        }

        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            let auto = Train { auto: Some(Auto::default()), ..Train::default() };
            if v == "auto" { Ok(Some(auto)) } else { Err(E::invalid_value(Unexpected::Str(v), &self)) }
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let candidates: Result<_, _> = std::iter::from_fn(|| items.next_element().transpose()).collect();
            Ok(Some(Train { candidates: candidates?, ..Train::default() }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Train::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    })
}

/// Reads `auto` as `None`, a size with its unit, or a number of megabytes.
pub fn auto_or_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    read_forms!(deserializer, format!("{}, a number of MB, or `auto`", Size::EXPECTED) => Option<Size> {
        visit_u64(v: u64, Unsigned) => Size::of_megabytes(v).ok().map(Some),
        visit_str(v: &str, Str) => if v == "auto" { Some(None) } else { v.parse().ok().map(Some) }
    })
}

/// Reads `white`, `black` or a list of red, green and blue levels.
pub fn colour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 3], D::Error> {
    read_forms!(deserializer, "`white`, `black` or three levels from 0 to 255, `[red, green, blue]`" => [u8; 3] {
        visit_str(v: &str, Str) => match v {
            "white" => Some([255; 3]),
            "black" => Some([0; 3]),
            _ => None,
        };
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[u8; 3], A::Error> {
            let mut levels = Vec::new();
            while let Some(level) = items.next_element::<u64>()? {
                let wrong = |_| A::Error::invalid_value(Unexpected::Unsigned(level), &self);
                levels.push(u8::try_from(level).map_err(wrong)?);
            }
            <[u8; 3]>::try_from(levels.as_slice()).map_err(|_| A::Error::invalid_length(levels.len(), &self))
        }
    })
}
