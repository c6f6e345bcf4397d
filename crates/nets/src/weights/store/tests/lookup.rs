//! Files that are found on this machine, and the checks that they must pass.

use std::ffi::OsString;

use super::*;
use crate::weights::store::digest::Expected;
use crate::weights::store::{Checked, Place, State, guess};

#[test]
fn folders_follow_the_environment_and_then_the_platform() {
    let variables = [
        ("FEATURIZE_WEIGHTS", "/w"),
        ("HF_HUB_CACHE", "/hub"),
        ("HF_HOME", "/hf"),
        ("TORCH_HOME", "~/torch"),
        ("KERAS_HOME", "/keras"),
        ("HF_ENDPOINT", "https://mirror.example/"),
        ("HF_HUB_OFFLINE", "true"),
        ("HF_TOKEN", "secret\n"),
    ];
    let read = |names: &[&str]| {
        let value = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name && names.contains(key));
            found.map(|(_, value)| OsString::from(value))
        };
        Env::read(value, Some("/home/me".into()))
    };
    let path = |text: &str| Some(PathBuf::from(text));
    let all = read(&variables.map(|(name, _)| name));
    assert_eq!((all.weights, all.hub, all.keras), (path("/w"), path("/hub"), path("/keras/models")));
    assert_eq!(all.torch, path("/home/me/torch/hub/checkpoints"));
    assert_eq!((&all.endpoint[..], all.offline), ("https://mirror.example", true));
    assert_eq!(format!("{:?}", all.token), "Some(Token(…))");
    assert_eq!(all.token.expect("a token").0, "secret");
    assert_eq!(read(&["HF_HOME"]).hub, path("/hf/hub"));
    let none = read(&[]);
    assert_eq!(none.hub, path("/home/me/.cache/huggingface/hub"));
    assert_eq!(none.torch, path("/home/me/.cache/torch/hub/checkpoints"));
    assert_eq!(none.keras, path("/home/me/.keras/models"));
    assert_eq!((&none.endpoint[..], none.offline), ("https://huggingface.co", false));
    if cfg!(target_os = "linux") {
        assert_eq!(none.weights, path("/home/me/.cache/featurize/weights"));
    }
    let store = Store::with(none, Some(Path::new("/given")), false).expect("a folder");
    assert_eq!(store.dir(), Path::new("/given"));
    let homeless = Store::with(Env::read(|_| None, None), None, false);
    assert!(homeless.expect_err("nowhere").to_string().contains("FEATURIZE_WEIGHTS"));
}

#[test]
fn specs_are_read_and_unsound_ones_refused() {
    let shown = |text: &str| parsed(text).to_string();
    assert_eq!(shown("hf:timm/net.a1/model.safetensors"), "hf:timm/net.a1/model.safetensors@main");
    assert_eq!(shown("hf:o/r/a/b.bin@v1/x"), "hf:o/r/a/b.bin@v1/x");
    assert_eq!(shown("https://huggingface.co/o/r/resolve/main/a/b.bin?download=true"), "hf:o/r/a/b.bin@main");
    assert_eq!(shown("https://example.org/x.h5"), "https://example.org/x.h5");
    for text in ["bundled", "vgg16", "weights/net.h5", "C:\\net.h5", "hf"] {
        assert!(Wanted::parse(text).expect("no spec").is_none(), "{text}");
    }
    let wrong = [
        "hf:owner/file",
        "hf:../repo/file",
        "hf:o/r/../../x",
        "hf:o/r//x",
        "hf:o/r/x@../..",
        "hf:o/r/x@",
        "hf:o/r/a b",
        "ftp://example.org/x",
        "https://",
        "https://me:secret@example.org/x",
        "https://example.org/x#sha256=12",
    ];
    for text in wrong {
        assert!(matches!(Wanted::parse(text), Err(StoreError::Spec { .. })), "{text}");
    }
}

#[test]
fn names_from_addresses_stay_in_their_folder() {
    let place = |url: &str| parsed(url).items()[0].place.clone();
    let end = |url: &str| place(url).file_name().expect("a name").to_string_lossy().into_owned();
    for url in ["https://e.org/a/..", "https://e.org/..%2F..%2Fetc", "https://e.org/a\\..\\b", "https://e.org/"] {
        if let Ok(Some(wanted)) = Wanted::parse(url) {
            let place = wanted.items()[0].place.clone();
            assert_eq!(place.components().count(), 3, "{place:?}");
            assert!(place.starts_with("url") && !end(url).starts_with('.'), "{place:?}");
        }
    }
    assert_eq!(end("https://e.org/d/net.h5?x=/y"), "net.h5");
    assert_eq!(end("https://e.org/net.part"), "net.part_");
    assert_eq!(end("https://e.org"), "weights");
    assert_eq!(end(&format!("https://e.org/{}.h5", "x".repeat(400))).len(), 150);
    assert_ne!(place("https://e.org/a/net.h5"), place("https://e.org/b/net.h5"));
}

#[test]
fn caches_of_other_programs_are_used_where_they_lie() {
    let (home, bytes) = (Home::new(), noise(2000));
    let torch = home.write(".cache/torch/hub/checkpoints/net.pth", &bytes);
    let keras = home.write(".keras/models/net.h5", &bytes);
    let cases =
        [(Source::Torchvision, "net.pth", torch, Place::TorchHub), (Source::Keras, "net.h5", keras, Place::Keras)];
    for (source, name, path, place) in cases {
        let net = model(source, &[published("https://e.org/x", name, full(&bytes), true)]);
        let (found, _) = home.find(&known(net, true));
        assert_eq!(found, Some(Found { path, sha256: sha256(&bytes), place }));
    }
    // each library's cache is for its own weights
    let net = model(Source::Torchvision, &[published("https://e.org/x", "net.h5", full(&bytes), true)]);
    assert_eq!(home.find(&known(net, true)).0, None);
}

#[test]
fn the_hub_s_cache_is_read_through_its_refs() {
    let (home, bytes) = (Home::new(), noise(2000));
    let folder = ".cache/huggingface/hub/models--timm--net";
    home.write(&format!("{folder}/refs/main"), b"abc123");
    let path = home.write(&format!("{folder}/snapshots/abc123/model.safetensors"), &bytes);
    let found = Some(Found { path, sha256: sha256(&bytes), place: Place::HuggingFace });
    for text in ["hf:timm/net/model.safetensors", "hf:timm/net/model.safetensors@abc123"] {
        assert_eq!(home.find(&parsed(text)).0, found, "{text}");
    }
    assert_eq!(home.find(&parsed("hf:timm/net/model.safetensors@other")).0, None);
    let url = "https://huggingface.co/timm/net/resolve/main/model.safetensors";
    let net = model(Source::Timm, &[published(url, "model.safetensors", full(&bytes), true)]);
    assert_eq!(home.find(&known(net, true)).0, found);
}

#[cfg(unix)]
#[test]
fn a_damaged_blob_of_the_hub_s_cache_is_passed_over() {
    let (home, bytes) = (Home::new(), noise(2000));
    let folder = ".cache/huggingface/hub/models--o--r";
    let blob = home.write(&format!("{folder}/blobs/{}", sha256(&bytes)), b"damaged");
    home.write(&format!("{folder}/snapshots/main/other"), b"");
    std::os::unix::fs::symlink(blob, home.path(&format!("{folder}/snapshots/main/x.bin"))).expect("linked");
    let (found, notes) = home.find(&parsed("hf:o/r/x.bin"));
    assert_eq!(found, None);
    assert!(notes[0].contains(&sha256(&bytes)), "{notes:?}");
}

#[test]
fn what_is_not_the_published_file_is_told_and_passed_over() {
    let (home, bytes) = (Home::new(), noise(2000));
    let wrong = home.write("store/net/keras/net.h5", b"wrong");
    let right = home.write(".keras/models/net.h5", &bytes);
    let net = model(Source::Keras, &[published("https://e.org/net.h5", "net.h5", full(&bytes), true)]);
    let (found, notes) = home.find(&known(net, true));
    assert_eq!(found.expect("the other").path, right);
    assert!(notes[0].contains(&wrong.display().to_string()) && notes[0].contains("passed over"), "{notes:?}");
}

#[test]
fn a_file_is_read_through_once_and_again_when_it_changed() {
    let (home, bytes) = (Home::new(), noise(2000));
    let path = home.write(".keras/models/net.h5", &bytes);
    let net = model(Source::Keras, &[published("https://e.org/net.h5", "net.h5", full(&bytes), true)]);
    assert!(home.find(&known(net, true)).0.is_some());
    let records = names(&home.path("store/seen"));
    assert_eq!(records.len(), 1);
    // the record is trusted: with another hash in it, the file counts as having that hash, without being read
    let record = home.path("store/seen").join(&records[0]);
    let text = std::fs::read_to_string(&record).expect("a record");
    let forged = sha256(b"forged");
    std::fs::write(&record, text.replace(&sha256(&bytes), &forged)).expect("written");
    let any = model(Source::Keras, &[published("https://e.org/net.h5", "net.h5", Hash::Unknown, true)]);
    assert_eq!(home.find(&known(any, true)).0.expect("here").sha256, forged);
    // the published hash is compared with the record, and then with the file
    assert_eq!(home.find(&known(net, true)).0.expect("here").sha256, sha256(&bytes));
    std::fs::write(&path, b"changed").expect("written");
    assert_eq!(home.find(&known(net, true)).0, None);
    assert_eq!(home.find(&known(any, true)).0.expect("here").sha256, sha256(b"changed"));
}

#[test]
fn without_need_of_the_top_either_file_will_do() {
    let (home, bytes) = (Home::new(), noise(2000));
    let top = published("https://e.org/top.h5", "top.h5", full(&bytes), true);
    let no_top = published("https://e.org/notop.h5", "notop.h5", full(b"small"), false);
    let net = model(Source::Keras, &[top, no_top]);
    assert_eq!(known(net, false).items()[0].url, no_top.url);
    let with_top = home.write("store/net/keras/top.h5", &bytes);
    assert_eq!(home.find(&known(net, false)).0.expect("here").path, with_top);
    std::fs::remove_file(with_top).expect("there");
    let small = home.write("store/net/keras/notop.h5", b"small");
    assert_eq!(home.find(&known(net, false)).0.expect("here").path, small);
    assert_eq!(home.find(&known(net, true)).0, None);
    let listed = home.store.list(net, &net.weights[0]);
    assert_eq!(listed.iter().map(|listed| listed.lies.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(listed[1].lies.as_ref().expect("here").2, 5);
}

#[test]
fn offline_says_where_it_looked_and_what_to_do() {
    let home = Home::with(|env| env.offline = true);
    let net = model(Source::Keras, &[published("https://e.org/net.h5", "net.h5", Hash::Unknown, true)]);
    let text = home.get(&known(net, true)).0.expect_err("offline").to_string();
    let places = [home.path("store/net/keras/net.h5"), home.path(".keras/models/net.h5")];
    let words = ["https://e.org/net.h5", "--offline", "weights fetch net --source keras", "import --model net"];
    for word in places.iter().map(|place| place.display().to_string()).chain(words.map(String::from)) {
        assert!(text.contains(&word), "no {word} in {text}");
    }
    let text = home.get(&parsed("hf:o/r/x.bin")).0.expect_err("offline").to_string();
    assert!(text.contains("models--o--r") && text.contains("weights fetch hf:o/r/x.bin@main"), "{text}");
    let text = home.store.not_here(&known(model(Source::Keras, &[]), true)).to_string();
    assert!(text.contains("inside the binary"), "{text}");
}

#[test]
fn a_file_is_imported_when_it_is_what_is_published() {
    let (home, bytes) = (Home::new(), noise(2000));
    let file = home.write("Downloads/whatever.h5", &bytes);
    let top = published("https://e.org/top.h5", "top.h5", full(b"other"), true);
    let no_top = published("https://e.org/notop.h5", "notop.h5", full(&bytes), false);
    let net = model(Source::Keras, &[top, no_top]);
    let found = home.store.import(&file, &known(net, false)).expect("known by its hash");
    assert_eq!(found.path, home.path("store/net/keras/notop.h5"));
    assert_eq!(home.find(&known(net, false)).0, Some(found));
    let wrong = home.write("Downloads/top.h5", b"wrong");
    let text = home.store.import(&wrong, &known(net, false)).expect_err("wrong").to_string();
    assert!(text.contains(&sha256(b"other")) && text.contains("extract.weights"), "{text}");
    let strange = home.write("Downloads/strange.h5", b"strange");
    let text = home.store.import(&strange, &known(net, false)).expect_err("strange").to_string();
    assert!(text.contains("notop.h5, top.h5"), "{text}");
    // if no hash is published, that of the imported file is recorded
    let any = model(Source::Timm, &[published("https://e.org/m.bin", "m.bin", Hash::Unknown, true)]);
    let found = home.store.import(&strange, &known(any, true)).expect("the only one");
    assert_eq!((found.path, found.sha256), (home.path("store/net/timm/m.bin"), sha256(b"strange")));
}

#[test]
fn a_row_is_guessed_by_name_or_by_hash() {
    let (home, bytes) = (Home::new(), noise(2000));
    let keras = model(Source::Keras, &[published("https://e.org/n.h5", "n.h5", Hash::Unknown, true)]);
    let timm = model(Source::Timm, &[published("https://e.org/m", "m.bin", Hash::Unknown, true)]);
    let torch = model(Source::Torchvision, &[published("https://e.org/m", "m.bin", full(&bytes), true)]);
    let copy = |model: &ModelSpec| ModelSpec { weights: model.weights, ..*model };
    let models: &'static [ModelSpec] = vec![copy(keras), copy(timm), copy(torch)].leak();
    let named = home.write("n.h5", b"any");
    assert_eq!(guess(models, &named).expect("by name").1.source, Source::Keras);
    let hashed = home.write("m.bin", &bytes);
    assert_eq!(guess(models, &hashed).expect("by hash").1.source, Source::Torchvision);
    let strange = home.write("strange", b"any");
    assert!(guess(models, &strange).expect_err("strange").to_string().contains("--model"));
    assert_eq!(guess(&models[..1], &strange).expect("the only row").1.source, Source::Keras);
}

#[test]
fn rot_is_found_even_where_the_time_stayed() {
    let (home, bytes) = (Home::new(), noise(2000));
    let net = model(Source::Timm, &[published("https://e.org/m", "m.bin", Hash::Unknown, true)]);
    let file = home.write("m.bin", &bytes);
    let path = home.store.import(&file, &known(net, true)).expect("imported").path;
    home.write("store/net/timm/m.bin.part", b"half");
    home.write("store/hf/o/r/main/loose.bin", b"loose");
    let models = std::slice::from_ref(net);
    let check = |only: Option<&ModelSpec>| {
        let mut states: Vec<Checked> = Vec::new();
        let result = home.store.verify(models, only, &mut |checked| {
            states.push(checked.clone());
            ControlFlow::Continue(())
        });
        (result, states)
    };
    let (result, states) = check(None);
    result.expect("all sound");
    let sound = State::Sound { sha256: sha256(&bytes) };
    let loose = State::Unknown { sha256: sha256(b"loose") };
    let states: Vec<_> = states.into_iter().map(|checked| checked.state).collect();
    assert_eq!(states, [loose, sound]);

    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    let mut rotten = bytes.clone();
    rotten[1000] ^= 1;
    std::fs::write(&path, &rotten).expect("written");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_modified(modified).expect("set");
    assert!(home.find(&known(net, true)).0.is_some(), "its length and time are those of the record");
    let (result, states) = check(Some(net));
    let text = result.expect_err("damaged").to_string();
    assert!(text.contains("1 of 1"), "{text}");
    let State::Damaged { reason } = &states[0].state else { panic!("{states:?}") };
    assert!(reason.contains(&sha256(&rotten)) && reason.contains(&sha256(&bytes)), "{reason}");
    assert_eq!(home.find(&known(net, true)).0, None, "the record vouches for it no more");
}

#[cfg(unix)]
#[test]
fn links_that_lead_in_circles_are_followed_once() {
    let home = Home::new();
    let file = home.write("store/net/timm/a.bin", b"a");
    home.write("elsewhere/b.bin", b"b");
    // two such links in one folder would double the number of paths at each level
    for name in ["one", "two"] {
        std::os::unix::fs::symlink("..", file.with_file_name(name)).expect("link");
    }
    std::os::unix::fs::symlink("../../../elsewhere", file.with_file_name("three")).expect("link");
    let mut paths = Vec::new();
    home.store
        .verify(&[], None, &mut |checked| {
            paths.push(checked.path.clone());
            ControlFlow::Continue(())
        })
        .expect("all sound");
    assert_eq!(paths, [file.clone(), file.with_file_name("three").join("b.bin")]);
}

#[test]
fn a_published_hash_is_checked_in_every_form() {
    let home = Home::new();
    let file = home.write("abc", b"abc");
    // FIPS 180-2 and RFC 1321, "abc"
    let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let sound = |hash: Hash| {
        let expected = Expected::from(hash);
        let found = expected.digest(&file, &mut || Ok(())).expect("read");
        assert_eq!(found.sha256, digits);
        expected.compare(&found).is_ok()
    };
    assert!(sound(Hash::Sha256(digits)) && sound(Hash::Sha256("BA7816BF")));
    assert!(sound(Hash::Md5("900150983cd24fb0d6963f7d28e17f72")) && sound(Hash::Unknown));
    assert!(!sound(Hash::Sha256("ba7816be")) && !sound(Hash::Md5("900150983cd24fb0d6963f7d28e17f73")));
}
