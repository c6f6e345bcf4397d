//! Readers of values that may be written in more than one way: a number or a word, one number or a list.
//!
//! Each is a visitor of its own, since serde's untagged enums lose the place and the text of an error.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::pipeline::Components;
use super::size::Size;
use super::train::{BatchSize, ClassWeight, InMemory, Train};

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

/// Reads `auto` as `None`, or a whole number of at least 1.
pub fn auto_or_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    struct AutoOrWhole;

    impl Visitor<'_> for AutoOrWhole {
        type Value = Option<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number of at least 1, or `auto`")
        }

        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            at_least_1(v, &self).map(Some)
        }

        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            if v == "auto" { Ok(None) } else { Err(E::invalid_value(Unexpected::Str(v), &self)) }
        }
    }

    deserializer.deserialize_any(AutoOrWhole)
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

/// Reads a list of whole numbers, or one number.
pub fn whole_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    struct WholeOrList;

    impl<'de> Visitor<'de> for WholeOrList {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of whole numbers of at least 1")
        }

        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            at_least_1(v, &self).map(|v| vec![v])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(WholeOrList)
}

/// Reads the number of singular vectors. Shares and `mle` are for principal components.
pub fn svd_components<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Count;

    impl Visitor<'_> for Count {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(
                "how many components (a whole number of at least 1; a share of the variance and `mle` are for `pca`)",
            )
        }

        fn visit_u64<E: Error>(self, v: u64) -> Result<usize, E> {
            at_least_1(v, &self)
        }
    }

    deserializer.deserialize_any(Count)
}

pub(super) fn at_least_1<E: Error>(v: u64, expected: &dyn serde::de::Expected) -> Result<usize, E> {
    match usize::try_from(v) {
        Ok(v) if v > 0 => Ok(v),
        _ => Err(E::invalid_value(Unexpected::Unsigned(v), expected)),
    }
}

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(auto_or_whole(deserializer)?.map_or(Self::Auto, Self::Rows))
    }
}

impl<'de> Deserialize<'de> for InMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrWhether;

        impl Visitor<'_> for AutoOrWhether {
            type Value = InMemory;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto`, `true` or `false`")
            }

            fn visit_bool<E: Error>(self, v: bool) -> Result<InMemory, E> {
                Ok(InMemory::Always(v))
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<InMemory, E> {
                if v == "auto" { Ok(InMemory::Auto) } else { Err(E::invalid_value(Unexpected::Str(v), &self)) }
            }
        }

        deserializer.deserialize_any(AutoOrWhether)
    }
}

impl<'de> Deserialize<'de> for ClassWeight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BalancedOrClasses;

        impl<'de> Visitor<'de> for BalancedOrClasses {
            type Value = ClassWeight;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`balanced`, or weights of classes, `{Banana: 2.0}`")
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<ClassWeight, E> {
                if v == "balanced" {
                    Ok(ClassWeight::Balanced)
                } else {
                    Err(E::invalid_value(Unexpected::Str(v), &self))
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClassWeight, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(ClassWeight::Classes)
            }
        }

        deserializer.deserialize_any(BalancedOrClasses)
    }
}

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountOrFraction;

        impl Visitor<'_> for CountOrFraction {
            type Value = Components;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let count = "how many components (a whole number of at least 1)";
                write!(f, "{count}, how much of the variance (between 0 and 1), or `mle`")
            }

            fn visit_u64<E: Error>(self, v: u64) -> Result<Components, E> {
                at_least_1(v, &self).map(Components::Count)
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<Components, E> {
                if v == "mle" { Ok(Components::Mle) } else { Err(E::invalid_value(Unexpected::Str(v), &self)) }
            }

            fn visit_f64<E: Error>(self, v: f64) -> Result<Components, E> {
                if v > 0.0 && v < 1.0 {
                    Ok(Components::Fraction(v))
                } else if v == 1.0 {
                    let message = "1.0 can be read in two ways; write `1` for one component, `0.999` for nearly all of \
                                   the variance, or leave `reduce` out to keep every column";
                    Err(E::custom(message))
                } else {
                    Err(E::invalid_value(Unexpected::Float(v), &self))
                }
            }
        }

        deserializer.deserialize_any(CountOrFraction)
    }
}
