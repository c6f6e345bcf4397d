//! The order of the page, the form of names, and the markup for screen readers, phones and printers.

use super::*;

/// The text between the first `from` of `html` and the next `to`.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let rest = html.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or("", |(text, _)| text)
}

#[test]
fn the_result_comes_first_and_the_ways_to_it_are_folded_at_the_end() {
    let html = page(&run(&FRUITS, 30, 0.1), "order");
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text}"));
    let order = [
        "tile main",
        "<h3>Mistakes",
        "<h3>Close calls",
        "<h3>Right",
        "<h3>Confusion matrix",
        "<h3>By class",
        "<h3>Labels in doubt",
        "<h3>Copies",
        "<h3>Outliers",
        "<h2 id=\"files-title\"",
        "<h3>Loss",
        "<details class=\"paper\">",
        "<h3>The network and what follows it",
        "featurize run pipelines&#x2f;fruits.yaml --set &#x27;reduce.pca={components: 64}&#x27;</code>",
        "<code>version: 1 # &lt;not&gt; a tag\ninput: {root: ..&#x2f;data&#x2f;fruits}</code>",
        "</details>\n</section>\n\n</main>",
    ]
    .map(place);
    assert!(order.is_sorted(), "{order:?}");
    // folded on a screen, and unfolded on paper without a script
    assert!(!html.contains(" open>") && between(&html, "@media print", "</style>").contains(".paper::details-content"));
    let told = between(&html, "<h2 id=\"ran-title\">What ran</h2>", "<details");
    assert!(told.contains("<time datetime=\"2026-11-24 12:53Z\">2026-11-24 12:53</time> UTC, in 11 s"), "{told}");
}

#[test]
fn every_picture_names_its_file() {
    let data = run(&FRUITS, 30, 0.1);
    let html = page(&data, "files");
    let captions = html.split("<figcaption").skip(1).map(|rest| between(rest, ">", "</figcaption>"));
    let files: Vec<&str> =
        captions.map(|caption| between(caption, "<span class=\"file\" title=\"", "</span>")).collect();
    assert_eq!(files.len(), 24 + 2 * 12 + 2 + 6 + 2);
    assert!(files.iter().all(|file| file.ends_with("<wbr>.jpg</bdi>") && file.contains("/<wbr>")), "{files:?}");
    // beside a label in doubt, the nearest picture of the suggested class
    let pair = between(&html, "<li class=\"pair\">", "</li>");
    assert_eq!(pair.matches("class=\"file\"").count(), 2, "{pair}");
}

#[test]
fn a_long_path_is_short_on_a_card_and_whole_where_it_is_pointed_at() {
    let mut data = run(&FRUITS, 8, 0.5);
    let long = format!("Test/{}/picture.jpg", "folder_".repeat(40));
    data.predictions.iter_mut().for_each(|one| one.path.clone_from(&long));
    let html = page(&data, "long");
    let file = between(&html, "<span class=\"file\" ", "</span>").replace("&#x2f;", "/");
    assert!(file.starts_with(&format!("title=\"{long}\"")), "{file}");
    let shown = file.split_once('>').map_or("", |(_, shown)| shown).replace("<wbr>", "");
    assert!(shown.starts_with("<bdi>Test/folder_") && shown.ends_with("folder_/picture.jpg</bdi>"), "{shown}");
    assert_eq!(shown.chars().count(), 72 + "<bdi></bdi>".len());
}

#[test]
fn one_is_spoken_of_as_one() {
    let one = run(&["cat", "dog"], 1, 0.0);
    let (test, label) = (vec![vec![1, 0], vec![0, 0]], "cat".to_string());
    let predictions = vec![Prediction {
        path: "Test/cat/0.jpg".into(),
        predicted: label.clone(),
        label,
        confidence: 0.9996,
        known: None,
    }];
    let reduced = Reduced { components: 1, columns: 1214, ratio: vec![0.6], explained: 0.6, ..Reduced::default() };
    let data = ReportData {
        test: Some(scores(test, &predictions)),
        predictions,
        sizes: [2, 1],
        reduced: Some(reduced),
        selected: Some(Selected { kept: 1279, of: 1280, below_threshold: 1, ..Selected::default() }),
        ..one
    };
    let html = page(&data, "one");
    for text in [
        "The classifier was right about the only test image, which it had not seen.",
        "The only test image was classified correctly;",
        "2 train images and 1 test image were found.",
        "1 component of 1,214 columns holds 60.0",
        "The first 1 holds 50",
        "1 of 1,280 columns was dropped: it is the same number for every train image.",
    ] {
        assert!(html.contains(text), "{text}");
    }
    for wrong in ["1 test images", "1 train images", "1 columns", "1 components", "1 classes", "1 pictures", "1 images"]
    {
        let found =
            html.match_indices(wrong).find(|(at, _)| !html[..*at].ends_with(|c: char| c.is_ascii_digit() || c == ','));
        assert!(found.is_none(), "{wrong}");
    }
}

#[test]
fn headings_tables_and_pictures_are_accessible() {
    for (data, name) in [(run(&FRUITS, 30, 0.1), "fruits"), (run(&["cat", "dog"], 12, 2.0), "two")] {
        let html = page(&data, name);
        let levels: Vec<u32> = html
            .match_indices("<h")
            .filter_map(|(at, _)| html[at + 2..].chars().next().and_then(|c| c.to_digit(10)))
            .collect();
        assert_eq!((levels[0], levels.iter().filter(|level| **level == 1).count()), (1, 1));
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        let tags = |start: &str| -> Vec<String> {
            html.split(start).skip(1).filter_map(|rest| Some(rest.split_once('>')?.0.to_string())).collect()
        };
        assert!(tags("<th ").iter().all(|tag| tag.contains("scope=")) && !html.contains("<th>"), "{name}");
        assert!(tags("<img ").iter().all(|tag| tag.contains("alt=\"") && !tag.contains("alt=\"\"")), "{name}");
        assert!(tags("<svg ").iter().all(|tag| tag.contains("aria-label=") || tag.contains("aria-hidden")), "{name}");
    }
}

#[test]
fn a_matrix_that_a_phone_cuts_says_so() {
    let page_of = |n: usize| {
        let names: Vec<String> = (0..n).map(|i| format!("Species {i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        page(&run(&names, 6, 0.2), &format!("classes{n}"))
    };
    // the widest window in which the hint is shown
    let widest = |n: usize| -> usize {
        let html = page_of(n);
        let css = between(&html, ".hint { display: none; }", ".hint { display: block; }");
        between(css, "screen and (max-width: ", "px)").parse().expect("a width")
    };
    // a phone of 390 pixels shows ten classes; for twenty it says that there are more
    assert_eq!([2, 10, 20, 25].map(|n| widest(n) >= 390), [false, false, true, true]);
    // a matrix that is a chart is as wide as its column
    assert!(!page_of(60).contains(".hint { display: block"));
}
