//! Compares every network with the facts in `facts.txt`, which explains its format.

use super::{BuildOptions, Graph, LayerId, Shape, Source, find};

fn numbers(text: &str) -> Vec<usize> {
    text.split('x').map(|number| number.parse().unwrap_or_else(|_| panic!("no shape: {text}"))).collect()
}

fn layer(g: &Graph, name: &str) -> Option<LayerId> {
    match name {
        "@features" => Some(g.features()),
        "@logits" => Some(g.logits()),
        name => g.find(name),
    }
}

fn shape(g: &Graph, id: LayerId) -> Vec<usize> {
    match g.layer(id).shape {
        Shape::Map { c, h, w } => vec![c, h, w],
        Shape::Tokens { n, c } => vec![n, c],
        Shape::Vector(n) => vec![n],
    }
}

/// Values in the tensors whose names are `kept`.
fn count(g: &Graph, kept: impl Fn(&str) -> bool) -> usize {
    let kept = g.parameters().into_iter().filter(|parameter| kept(&parameter.name));
    kept.map(|parameter| parameter.shape.iter().product::<usize>()).sum()
}

fn macs(g: &Graph) -> u64 {
    g.layers().iter().map(|layer| g.macs_of(layer)).sum()
}

/// An error with the value found, where the fact is wrong.
fn check(g: &Graph, fact: &str) -> Result<(), String> {
    let same = |found: String, expected: &str| if found == expected { Ok(()) } else { Err(found) };
    let dims = |found: Option<Vec<usize>>, expected: &str| match expected {
        "absent" => found.map_or(Ok(()), |found| Err(format!("{found:?}"))),
        expected if found == Some(numbers(expected)) => Ok(()),
        _ => Err(format!("{found:?}")),
    };
    for (sign, equal) in [(" = ", true), (" != ", false)] {
        if let Some((one, other)) = fact.split_once(sign) {
            let [one, other] = [one, other].map(|name| layer(g, name));
            let fits = one.is_some() && other.is_some() && (one == other) == equal;
            return if fits { Ok(()) } else { Err(format!("{one:?} and {other:?}")) };
        }
    }
    let (key, expected) = fact.split_once(": ").expect("`key: value`");
    match key {
        "learned" => same(count(g, |name| !name.contains("running_")).to_string(), expected),
        "stored" => same(count(g, |_| true).to_string(), expected),
        "macs" => same(((macs(g) + 500_000) / 1_000_000).to_string(), expected),
        "dropped" => same(g.dropped().join(" "), expected),
        key => match key.strip_prefix("tensor ") {
            Some(name) => dims(g.parameters().into_iter().find(|p| p.name == name).map(|p| p.shape), expected),
            None => dims(layer(g, key).map(|id| shape(g, id)), expected),
        },
    }
}

#[test]
fn every_network_is_that_of_its_library() {
    let text = include_str!("facts.txt");
    let mut wrong = Vec::new();
    for section in text.split("\n[").skip(1) {
        let mut lines = section.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let head = lines.next().expect("a head");
        let [names, sources, input] = head.trim_end_matches(']').split(' ').collect::<Vec<_>>()[..] else {
            panic!("[{head}");
        };
        let [channels, height, width] = numbers(input)[..] else { panic!("[{head}") };
        let facts: Vec<&str> = lines.collect();
        for name in names.split(',') {
            for source in Source::ALL.into_iter().filter(|source| sources.split(',').any(|one| one == source.word())) {
                let options = BuildOptions { channels, size: [height, width], classes: 1000, source };
                let built = find(name).unwrap_or_else(|| panic!("no model {name}")).build(&options);
                let mut tell =
                    |fact: &str, found: String| wrong.push(format!("{name} {source} {input}: {fact}: {found}"));
                match (built, facts[0].strip_prefix("refused: ")) {
                    (Ok(g), None) => {
                        facts.iter().for_each(|fact| check(&g, fact).err().into_iter().for_each(|f| tell(fact, f)));
                    }
                    (Err(error), Some(words)) if error.to_string().contains(words) => {}
                    (built, _) => tell(facts[0], format!("{:?}", built.map(|_| "built"))),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong facts:\n{}", wrong.len(), wrong.join("\n"));
}
