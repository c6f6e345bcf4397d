//! Layer names: the automatic names of Keras, and the outdated names in old files.

use super::network::Class;

/// The class and the number of an automatic name: `conv2d_94`, `batch_normalization`, and Keras 1's `convolution2d_3`.
/// The number continues after the layers that the session built before.
pub(super) fn automatic(name: &str) -> Option<(Class, u64)> {
    let (prefix, number) = numbered(name);
    let old = match prefix {
        "convolution2d" => Some(Class::Conv2d),
        "separableconvolution2d" => Some(Class::SeparableConv2d),
        "batchnormalization" => Some(Class::BatchNormalization),
        _ => None,
    };
    let class = old.or_else(|| Class::ALL.into_iter().find(|class| class.prefix() == prefix))?;
    Some((class, number))
}

/// A name and the number after its last underscore, 0 if there is none.
pub(super) fn numbered(name: &str) -> (&str, u64) {
    let split = name.rsplit_once('_').filter(|(_, digits)| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match split.and_then(|(prefix, digits)| Some((prefix, digits.parse().ok()?))) {
        Some((prefix, number)) => (prefix, number),
        None => (name, 0),
    }
}

/// The current name in `keras.applications` for a layer of its first ResNets and DenseNets: `res3b7_branch2c` is
/// `conv3_block8_3_conv`.
pub(super) fn modern(name: &str) -> Option<String> {
    match name {
        "conv1" => return Some("conv1_conv".into()),
        "bn_conv1" => return Some("conv1_bn".into()),
        "fc1000" => return Some("predictions".into()),
        _ if name.contains('/') => return Some(name.replace('/', "_")),
        _ => {}
    }
    let (kind, rest) = match (name.strip_prefix("res"), name.strip_prefix("bn")) {
        (Some(rest), _) => ("conv", rest),
        (_, Some(rest)) => ("bn", rest),
        _ => return None,
    };
    let (place, branch) = rest.split_once("_branch")?;
    let part = match branch {
        "1" => 0,
        "2a" => 1,
        "2b" => 2,
        "2c" => 3,
        _ => return None,
    };
    let mut characters = place.chars();
    let (stage, letter) = (characters.next()?.to_digit(10)?, characters.next()?);
    let block = match (letter, characters.as_str()) {
        (letter @ 'a'..='z', "") => u32::from(letter) - u32::from('a') + 1,
        ('b', digits) => digits.parse::<u32>().ok()?.checked_add(1)?,
        _ => return None,
    };
    Some(format!("conv{stage}_block{block}_{part}_{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_up_by_keras_are_told_from_chosen_ones() {
        assert_eq!(automatic("conv2d"), Some((Class::Conv2d, 0)));
        assert_eq!(automatic("conv2d_94"), Some((Class::Conv2d, 94)));
        assert_eq!(automatic("convolution2d_2"), Some((Class::Conv2d, 2)));
        assert_eq!(automatic("separable_conv2d_1"), Some((Class::SeparableConv2d, 1)));
        assert_eq!(automatic("depthwise_conv2d"), Some((Class::DepthwiseConv2d, 0)));
        for chosen in ["conv2d_bn", "conv1", "conv2d_", "block1_conv1", "conv2d_99999999999999999999"] {
            assert_eq!(automatic(chosen), None, "{chosen}");
        }
    }

    #[test]
    fn the_first_resnets_names_become_todays() {
        let cases = [
            ("conv1", "conv1_conv"),
            ("bn_conv1", "conv1_bn"),
            ("fc1000", "predictions"),
            ("res2a_branch1", "conv2_block1_0_conv"),
            ("bn2a_branch2a", "conv2_block1_1_bn"),
            ("res5c_branch2c", "conv5_block3_3_conv"),
            ("res3b7_branch2c", "conv3_block8_3_conv"),
            ("bn4b35_branch2b", "conv4_block36_2_bn"),
            ("conv2_block1/0/bn", "conv2_block1_0_bn"),
        ];
        for (old, new) in cases {
            assert_eq!(modern(old).as_deref(), Some(new));
        }
        for other in ["res", "bn", "resnet", "res2a_branch3", "res2_branch1", "resaa_branch1", "res3c7_branch1"] {
            assert_eq!(modern(other), None, "{other}");
        }
    }
}
