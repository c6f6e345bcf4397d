//! The thousand classes of ImageNet-1k (Russakovsky et al. 2015, arXiv:1409.0575), in the order of a network's outputs.
//! The table is `data/weights/imagenet_classes.tsv`, its sources are in `data/weights/NOTICE`.

use std::sync::LazyLock;

/// index, WordNet id, label, split by tabs.
const TABLE: &str = include_str!("../../../../data/weights/imagenet_classes.tsv");

/// A class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// WordNet id, unique: `n02123045`.
    pub wnid: &'static str,
    /// First word of the synset, as Keras' `decode_predictions` prints it: `tabby`. `crane` and `maillot` occur twice.
    pub label: &'static str,
}

/// Every class; output `i` of a network is the score of class `i`.
pub fn classes() -> &'static [Class] {
    static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| TABLE.lines().filter_map(class).collect());
    &CLASSES
}

fn class(line: &'static str) -> Option<Class> {
    let (_, rest) = line.split_once('\t')?;
    let (wnid, label) = rest.split_once('\t')?;
    Some(Class { wnid, label })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::MODELS;
    use std::collections::BTreeSet;

    #[test]
    fn every_line_is_a_class_in_its_place() {
        let classes = classes();
        assert_eq!(classes.len(), 1000);
        for (i, (line, class)) in TABLE.lines().zip(classes).enumerate() {
            assert_eq!(line, format!("{i}\t{}\t{}", class.wnid, class.label));
            assert!(class.wnid.len() == 9 && class.wnid.starts_with('n') && !class.label.is_empty(), "{line}");
        }
        assert_eq!(classes.iter().map(|class| class.wnid).collect::<BTreeSet<_>>().len(), 1000);
        assert_eq!(classes[281], Class { wnid: "n02123045", label: "tabby" });
    }

    #[test]
    fn every_librarys_default_classifier_is_of_these_classes() {
        // some networks have no classes, and one has only those of ImageNet-22k
        let others = [0, 21841];
        let defaults = MODELS.iter().flat_map(|model| model.defaults());
        for weights in defaults.filter(|weights| !others.contains(&weights.classes)) {
            assert_eq!(weights.classes, classes().len(), "{}", weights.name);
        }
    }
}
