//! Tests of the layers that become features, and of the facts of published weights.

use super::*;

#[test]
fn tokens_become_features_as_is_asked() {
    let plan = |model: &str, layer: Option<&str>, features| {
        let model = models::find(model).expect("registered");
        let layers: Vec<String> = layer.iter().map(ToString::to_string).collect();
        let (row, weights) = (&model.weights[0], Origin::Random(0));
        NetworkPlan::new(model, row, weights, row.recipe.clone(), &layers, features)
    };
    let (vit, siglip) = ("vit_tiny_patch16_224", "vit_base_patch16_siglip_224");
    for (model, layer, features, found, dims) in [
        (vit, None, Features::Pooled, Features::Pooled, vec![192]),
        (vit, None, Features::Cls, Features::Cls, vec![192]),
        (vit, None, Features::Avg, Features::Avg, vec![192]),
        (vit, None, Features::Map, Features::Map, vec![14, 14, 192]),
        (vit, None, Features::Flatten, Features::Flatten, vec![14 * 14 * 192]),
        (vit, Some("blocks.5"), Features::Pooled, Features::Pooled, vec![192]),
        (vit, Some("blocks.5"), Features::Map, Features::Map, vec![14, 14, 192]),
        (siglip, None, Features::Pooled, Features::Pooled, vec![768]),
        (siglip, None, Features::Max, Features::Max, vec![768]),
        (siglip, Some("blocks.5"), Features::Pooled, Features::Pooled, vec![768]),
        ("vit_base_patch32_clip_quickgelu_224", None, Features::Pooled, Features::Pooled, vec![512]),
        ("vit_base_patch32_clip_quickgelu_224", None, Features::Cls, Features::Cls, vec![768]),
        ("swin_t", None, Features::Map, Features::Map, vec![7, 7, 768]),
        ("resnet18", None, Features::Pooled, Features::Avg, vec![512]),
    ] {
        let plan = plan(model, layer, features).unwrap_or_else(|error| panic!("{model} {features:?}: {error}"));
        assert_eq!((plan.features, plan.shape().dims()), (found, dims), "{model} {layer:?} {features:?}");
    }
    for model in [siglip, "resnet18", "swin_t"] {
        let error = plan(model, None, Features::Cls).expect_err("no class token").to_string();
        assert!(error.contains("has no class token"), "{error}");
    }
}

#[test]
fn published_weights_of_two_towers_name_the_one_for_texts() {
    let tower = |model: &str, weights: &str, features, layer: Option<&str>| {
        let model = models::find(model).expect("registered");
        let (row, layers) = (model.weights(weights).expect(weights), layer.map(String::from));
        let (origin, recipe) = (Origin::Bundled(row), row.recipe.clone());
        let plan = NetworkPlan::new(model, row, origin, recipe, layers.as_slice(), features).expect("built");
        plan.text_tower().map(|tower| (tower, plan.width()))
    };
    for (model, weights, expected) in [
        ("vit_base_patch32_clip_quickgelu_224", "openai", Some(("openai/clip-vit-base-patch32", 512))),
        ("vit_base_patch32_clip_224", "timm:laion2b", Some(("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 512))),
        ("vit_base_patch32_clip_224", "timm:laion2b_ft_in1k", None),
        ("resnet50_clip", "openai", Some(("timm/resnet50_clip.openai", 1024))),
        ("vit_base_patch16_siglip_224", "timm:v2_webli", Some(("google/siglip2-base-patch16-224", 768))),
        ("vit_small_patch14_dinov2", "facebook", None),
    ] {
        assert_eq!(tower(model, weights, Features::Pooled, None), expected, "{model} {weights}");
    }
    // the class token before the projection is not in the space shared with texts
    assert_eq!(tower("vit_base_patch32_clip_quickgelu_224", "openai", Features::Cls, None), None);
    assert_eq!(tower("resnet50_clip", "openai", Features::Avg, Some("stages.1")), None);
}

#[test]
fn a_network_without_classes_is_no_classifier() {
    let model = models::find("vit_small_patch14_dinov2").expect("registered");
    let row = &model.weights[0];
    let error = NetworkPlan::classifier(model, row, Origin::Random(0), row.recipe.clone()).expect_err("no classes");
    assert!(error.to_string().contains("have no classes"), "{error}");
}

#[test]
fn a_classifier_without_a_layer_is_told_with_its_reason() {
    let reason = |width| unused("classifier.weight", &[10, 768], width);
    assert!(reason(384).contains("over the class token and the mean of the other tokens"));
    assert!(reason(768).contains("the network has no layer for `classifier.weight` [10, 768]"));
}
