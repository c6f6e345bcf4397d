//! Finds names that are similar to a misspelt word.

/// The candidate that `word` was probably meant to be, if one is near enough.
///
/// Near means: equal except for case and `-` for `_`; up to a third of the letters wrong; a Jaro-Winkler similarity of
/// 0.9 or more; or one the prefix of the other, of three letters or more. The nearest wins, the first of equals.
pub fn suggest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    near(word, candidates).into_iter().next()
}

/// All candidates that are near `word` and about as near as the nearest one, the nearest first.
pub fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let word = plain(word);
    let letters = word.chars().count();
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        let other = plain(candidate);
        let longer = letters.max(other.chars().count());
        let mut distance = strsim::osa_distance(&word, &other);
        if distance == longer {
            // no letter in common
            continue;
        }
        if distance > (longer / 3).max(1) && strsim::jaro_winkler(&word, &other) < 0.9 {
            let beginning = letters >= 3 && other.starts_with(&word) || other.len() >= 3 && word.starts_with(&other);
            if !beginning {
                continue;
            }
            // a prefix is a guess: it ranks after every word that is near
            distance += longer;
        }
        found.push((distance, candidate));
    }
    found.sort_by_key(|(distance, _)| *distance);
    // in a long list many words are near: those much farther than the nearest were not meant
    let nearest = found.first().map_or(0, |(distance, _)| *distance);
    found.retain(|(distance, _)| *distance <= nearest + 1);
    found.into_iter().map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_only_that() {
        let models = ["efficientnet_lite0", "resnet50", "resnet18", "vgg16", "mobilenet_v2"];
        for (word, meant) in [
            ("resnet5", Some("resnet50")),
            ("ResNet-50", Some("resnet50")),
            ("resnet", Some("resnet50")),
            ("efficientnet", Some("efficientnet_lite0")),
            ("mobilenet-v2", Some("mobilenet_v2")),
            ("mobile", Some("mobilenet_v2")),
            ("vg16", Some("vgg16")),
            ("vgg16_bn_cifar100", Some("vgg16")),
            ("efficientnet_b7", Some("efficientnet_lite0")),
            ("convnext", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(suggest(word, models.into_iter()).as_deref(), meant, "{word}");
        }
    }
}
