//! Any bytes as an ONNX file: a network that can be lowered, or an error.
#![no_main]

use featurize_nets::exec::lower::lower;
use featurize_nets::onnx::{Asked, OnnxFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("featurize_fuzz_{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("net.onnx");
    std::fs::write(&path, bytes).expect("written");
    let Ok(file) = OnnxFile::open(&path) else { return };
    let asked = Asked { channels: 3, size: [32, 32], layers: &[], logits: true };
    if let Ok(import) = file.import(asked) {
        let _ = lower(&import.graph, &import.weights, &[import.graph.logits()]);
    }
});
