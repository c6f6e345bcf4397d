//! Files that PyTorch wrote, with PyTorch's values, and hand-made files for formats that current PyTorch does not
//! write.

mod hostile;

use std::io::Write;
use std::path::PathBuf;

use serde_json::Value as Json;
use tempfile::NamedTempFile;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// PyTorch's tensors of `state`: shape and bits by name.
fn expected(state: &str) -> BTreeMap<String, (Vec<usize>, Option<Vec<u32>>)> {
    let text = std::fs::read_to_string(golden("pth.json")).expect("golden file");
    let json: Json = serde_json::from_str(&text).expect("json");
    let tensors = json[state].as_object().expect("tensors by name").clone();
    let tensor = |(name, tensor): (String, Json)| {
        let shape = serde_json::from_value(tensor["shape"].clone()).expect("sizes");
        (name, (shape, serde_json::from_value(tensor["bits"].clone()).expect("bits")))
    };
    tensors.into_iter().map(tensor).collect()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.values().expect("readable").into_iter().map(f32::to_bits).collect()
}

fn on_disk(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("written");
    file
}

fn reason(path: &Path) -> String {
    match read(path).expect_err("refused") {
        WeightError::Format { reason, .. } => reason,
        error => panic!("not an error of the format: {error}"),
    }
}

#[test]
fn every_kind_of_tensor_has_pytorchs_values_in_every_format() {
    let cases = [
        ("types", "pth_types.pth"),
        ("types", "pth_types_legacy.pth"),
        ("types", "pth_types_deflated.pth"),
        ("checkpoint", "pth_checkpoint.pth"),
        ("checkpoint", "pth_checkpoint_legacy.pth"),
    ];
    for (state, name) in cases {
        assert!(is_pth(&golden(name)).expect("there"), "{name}");
        let mut set = read(&golden(name)).expect(name);
        let expected = expected(state);
        if state == "checkpoint" {
            assert!(set.contains_key("best_acc1"), "{name}");
            let inner = set
                .into_iter()
                .filter_map(|(name, tensor)| Some((name.strip_prefix("state_dict.module.")?.to_string(), tensor)));
            set = inner.collect();
        }
        assert_eq!(set.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (key, (shape, values)) in expected {
            assert_eq!(set[&key].shape(), shape, "{name} {key}");
            match values {
                Some(values) => assert_eq!(bits(&set[&key]), values, "{name} {key}"),
                None => assert!(matches!(set[&key].values(), Err(WeightError::Dtype { .. })), "{name} {key}"),
            }
        }
    }
}

#[test]
fn types_that_are_not_read_are_named() {
    let set = read(&golden("pth_types.pth")).expect("read");
    let says = |name: &str| set[name].values().expect_err("no float").to_string();
    assert_eq!(
        says("bn.num_batches_tracked"),
        "tensor `bn.num_batches_tracked` is of type i64; f16, bf16, f32 and f64 can be read"
    );
    assert!(says("float8").contains("of type float8_e4m3fn;"));
    assert!(says("uint16").contains("of type u16;"));
}

#[test]
fn programs_are_refused_with_what_to_do() {
    assert!(is_pth(&golden("pth_module.pth")).expect("there"));
    assert_eq!(
        reason(&golden("pth_module.pth")),
        "it holds a whole `torch.nn.modules.linear.Linear` object, not its weights: no code of a file is run; load it \
         in PyTorch and save `model.state_dict()` instead"
    );
}

#[test]
fn the_tensors_of_torchscript_are_read_as_data() {
    let set = read(&golden("pth_script.pt")).expect("read");
    assert_eq!(set.keys().collect::<Vec<_>>(), ["bias", "weight"]);
    // `torch.jit.load(file).state_dict()`
    assert_eq!((set["weight"].shape(), bits(&set["weight"])), (&[2, 1][..], vec![0xbf6f_c276, 0xbf15_7004]));
    assert_eq!((set["bias"].shape(), bits(&set["bias"])), (&[2][..], vec![0x3f5c_0e9e, 0x3ee4_76bc]));
    // nested modules; the state of each also refers to the outermost one, a cycle
    let module = |name: &str, state: &[u8]| [b"c__torch__.net\n", name.as_bytes(), b"\n)\x81", state, b"b"].concat();
    let weight = dict(&[("weight", tensor("a", 1, b"", 0, &[1], &[1])), ("training", b"\x88".to_vec())]);
    let inner = (0..8).fold(module("Linear", &weight), |inner, i| {
        module("Block", &dict(&[(&format!("m{i}"), inner), ("root", b"h\x07".to_vec())]))
    });
    let object = [&b"c__torch__\nNet\n)\x81q\x07"[..], &dict(&[("visual", inner)]), b"b"].concat();
    let set = read(on_disk(&legacy(&object, &[("a", &[2.5])])).path()).expect("read");
    let name = "visual.m7.m6.m5.m4.m3.m2.m1.m0.weight";
    assert_eq!(set[name].values().expect("a value"), [2.5]);
}

#[test]
fn other_files_are_told_apart() {
    let mut zip = Vec::new();
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(&mut zip));
    writer.start_file::<_, ()>("model.weights.h5", Default::default()).expect("started");
    writer.finish().expect("written");
    let pickle = b"\x80\x02}q\x00.";
    for bytes in [&zip[..], b"", b"\x80", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", pickle, &[0; 600]] {
        assert!(!is_pth(on_disk(bytes).path()).expect("there"), "{bytes:?}");
        assert_eq!(reason(on_disk(bytes).path()), "it is not what `torch.save` writes");
    }
    assert!(matches!(is_pth(Path::new("/nowhere/x.pth")), Err(WeightError::Read { .. })));
    assert!(matches!(read(Path::new("/nowhere/x.pth")), Err(WeightError::Read { .. })));
    // in a repacked zip, data.pkl need not come first
    let mut zip = Vec::new();
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(&mut zip));
    for name in ["x/version", "x/data.pkl"] {
        writer.start_file::<_, ()>(name, Default::default()).expect("started");
    }
    writer.finish().expect("written");
    assert!(is_pth(on_disk(&zip).path()).expect("there"));
    let mut tar = vec![0; 1024];
    tar[..8].copy_from_slice(b"sys_info");
    tar[257..262].copy_from_slice(b"ustar");
    assert!(is_pth(on_disk(&tar).path()).expect("there"));
    assert!(reason(on_disk(&tar).path()).contains("tar format of PyTorch before 0.2"));
}

/// A file of the legacy format with the instructions of `object` (without the end) and storages of f32.
fn legacy(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}U\x0dlittle_endian\x88s.\x80\x02".to_vec();
    file.extend_from_slice(object);
    file.extend_from_slice(b".\x80\x02](");
    for (key, _) in storages {
        file.extend_from_slice(&text(key));
    }
    file.extend_from_slice(b"e.");
    for (_, values) in storages {
        file.extend_from_slice(&(values.len() as u64).to_le_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

/// The instruction that pushes a text, as Python 2 writes it.
fn text(text: &str) -> Vec<u8> {
    [b"U", &[text.len() as u8][..], text.as_bytes()].concat()
}

/// The instruction that pushes an integer.
fn int(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

/// Instructions that push a tensor of f32s as PyTorch 0.1 to 0.3 did.
fn tensor(key: &str, elements: i64, part: &[u8], first: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let ints =
        |values: &[i64]| [b"(", &values.iter().flat_map(|&value| int(value)).collect::<Vec<_>>()[..], b"t"].concat();
    let identifier =
        [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text(key), &text("cpu"), &int(elements), part, b"tQ"]
            .concat();
    [&b"ctorch._utils\n_rebuild_tensor\n("[..], &identifier, &int(first), &ints(shape), &ints(strides), b"tR"].concat()
}

/// Instructions that push a dictionary.
fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", &items[..], b"u"].concat()
}

#[test]
fn files_of_python_2_and_the_first_pytorch_are_read() {
    let values: Vec<f32> = (0..8).map(|i| i as f32).collect();
    // a part of a storage: key, first element, elements
    let part = [&b"("[..], &text("b"), &int(2), &int(6), b"t"].concat();
    let a = tensor("a", 8, b"N", 1, &[2, 2], &[2, 1]);
    let b = tensor("a", 8, &part, 1, &[3], &[2]);
    // OrderedDict([[name, tensor], (name, tensor)]), with attributes
    let object = [
        &b"ccollections\nOrderedDict\n](](X\x01\0\0\0a"[..],
        &a,
        b"e",
        &text("b"),
        &b,
        b"\x86e\x85R}U\x09_metadataNsb",
    ]
    .concat();
    let file = on_disk(&legacy(&object, &[("a", &values)]));
    assert!(is_pth(file.path()).expect("there"));
    let set = read(file.path()).expect("read");
    assert_eq!(set["a"].values().expect("a"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(set["b"].values().expect("b"), [3.0, 5.0, 7.0]);
}

#[test]
fn tensors_are_named_by_their_way() {
    let one = |name: &str| dict(&[(name, tensor("a", 1, b"", 0, &[1], &[1]))]);
    let names = |object: &[u8]| {
        let file = on_disk(&legacy(object, &[("a", &[1.0])]));
        read(file.path()).expect("read").into_keys().collect::<Vec<_>>()
    };
    let (options, none) = (dict(&[("lr", b"N".to_vec())]), b"N".to_vec());
    let two = dict(&[("model", one("m")), ("state_dict", one("s.w")), ("options", options.clone()), ("net", none)]);
    assert_eq!(names(&two), ["model.m", "state_dict.s.w"]);
    assert_eq!(names(&dict(&[("model", dict(&[("x", one("y")), ("epoch", int(3))]))])), ["model.x.y"]);
    let lone = tensor("a", 1, b"", 0, &[], &[]);
    assert_eq!(names(&dict(&[("best", lone.clone()), ("w", one("module.b"))])), ["best", "w.module.b"]);
    // a list of a state dict and the state of an optimiser
    let list = [&b"]("[..], &one("w"), &options, b"e"].concat();
    assert_eq!(names(&list), ["0.w"]);
    let refused = |object: &[u8]| reason(on_disk(&legacy(object, &[])).path());
    let alone = on_disk(&legacy(&lone, &[("a", &[1.0])]));
    assert!(reason(alone.path()).contains("a single tensor"));
    assert!(
        refused(&dict(&[("epoch", int(3))])).contains("no dictionary of tensors, neither by itself nor 4 levels down")
    );
    let module = b"cyolo\nNet\n)\x81}b";
    let options = b"cargparse\nNamespace\n)\x81}b";
    let whole = dict(&[("args", options.to_vec()), ("model", module.to_vec()), ("epoch", int(3))]);
    assert!(refused(&whole).contains("a whole `yolo.Net` object"));
    // PyTorch before 1.6 wrote a class with its source
    let sourced =
        [&b"("[..], &text("module"), b"cyolo\nNet\n", &text("net.py"), &text("class Net"), b"tQ)\x81}b"].concat();
    assert!(refused(&sourced).contains("it holds a whole Python object, not its weights"));
    let array = b"cnumpy._core.multiarray\n_reconstruct\n)R";
    assert!(refused(&dict(&[("w", array.to_vec())])).contains("arrays of numpy"));
}

#[test]
fn a_dictionary_named_over_and_over_costs_nothing() {
    // 2,000 names of one of 2,000 names of one of 2,000 tensors
    let many = |value: &[u8]| {
        let items: Vec<u8> = (0..2000).flat_map(|i| [text(&i.to_string()), value.to_vec()].concat()).collect();
        [b"}(", &items[..], b"u"].concat()
    };
    let inner = [&many(&tensor("a", 1, b"", 0, &[1], &[1]))[..], b"q\x010"].concat();
    let middle = [&many(b"h\x01")[..], b"q\x020"].concat();
    let object = [&inner[..], &middle, &many(b"h\x02")].concat();
    let found = reason(on_disk(&legacy(&object, &[("a", &[1.0])])).path());
    assert!(found.contains("more values than those of any network"), "{found}");
}
