//! The index of a network in several files, as Hugging Face's libraries write it beside them:
//! `model.safetensors.index.json`, `pytorch_model.bin.index.json`. Its `weight_map` names the file of each tensor, in
//! the folder of the index.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::{Tensor, WeightError, file};
use crate::files::regular;

/// Most bytes of an index that are read; that of a network of a thousand tensors has a tenth of a megabyte.
const LONGEST: u64 = 16 << 20;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The index at `path`; none if it is another file. `head` are its first bytes.
fn index(path: &Path, head: &[u8]) -> Result<Option<Index>, WeightError> {
    if head.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = regular::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.map_err(|error| WeightError::Read { path: path.to_path_buf(), error })?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// The files that the index at `path` names, sorted; none if it is another file.
pub(super) fn files(path: &Path, head: &[u8]) -> Result<Option<Vec<PathBuf>>, WeightError> {
    let Some(Index { weight_map }) = index(path, head)? else { return Ok(None) };
    let names: BTreeSet<String> = weight_map.into_values().collect();
    names.iter().map(|name| beside(path, name)).collect::<Result<_, _>>().map(Some)
}

/// The tensors that the index at `path` lists; none if it is another file.
pub(super) fn read(path: &Path, head: &[u8]) -> Result<Option<BTreeMap<String, Tensor>>, WeightError> {
    let Some(Index { weight_map }) = index(path, head)? else { return Ok(None) };
    let mut shards = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (tensor, name) in weight_map {
        if !shards.contains_key(&name) {
            shards.insert(name.clone(), file::named(&beside(path, &name)?)?);
        }
        let found = shards.get(&name).and_then(|shard| shard.get(&tensor)).cloned();
        let reason = || format!("its index says that `{tensor}` lies in {name}, which does not hold it");
        let found = found.ok_or_else(|| unsound(path, reason()))?;
        tensors.insert(tensor, found);
    }
    Ok(Some(tensors))
}

/// The shard called `name`, which must be in the folder of the index.
fn beside(path: &Path, name: &str) -> Result<PathBuf, WeightError> {
    let mut parts = Path::new(name).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        return Err(unsound(path, format!("its index names `{name}`, which does not lie in its own folder")));
    };
    let shard = path.with_file_name(name);
    if !shard.is_file() {
        let reason = format!("its index names {name}, which is not beside it; all shards must lie in one folder");
        return Err(unsound(path, reason));
    }
    Ok(shard)
}

fn unsound(path: &Path, reason: String) -> WeightError {
    WeightError::Format { place: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::WeightFile;
    use safetensors::tensor::{Dtype, TensorView};

    fn shard(path: &Path, name: &str) {
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).expect("one value");
        safetensors::serialize_to_file([(name, view)], None, path).expect("written");
    }

    #[test]
    fn shards_lie_beside_their_index_and_hold_what_it_says() {
        let dir = tempfile::tempdir().expect("a folder");
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).expect("a folder");
        shard(&inside.join("1.safetensors"), "a");
        shard(&inside.join("2.safetensors"), "b");
        shard(&dir.path().join("outside.safetensors"), "a");
        let path = inside.join("model.safetensors.index.json");
        let says = |map: &str| {
            std::fs::write(&path, format!("{{\"metadata\": {{}}, \"weight_map\": {{{map}}}}}")).expect("written");
            WeightFile::open(&path).map(|_| file::sha256(&path).expect("hashed")).map_err(|error| error.to_string())
        };
        let both = "\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"";
        let hash = says(both).expect("sound");
        // other shards are other weights
        shard(&inside.join("2.safetensors"), "c");
        assert!(says(both).expect_err("gone").contains("says that `b` lies in 2.safetensors, which does not hold it"));
        assert_ne!(file::sha256(&path).expect("hashed"), hash);
        let absolute = dir.path().join("outside.safetensors").display().to_string();
        for name in ["../outside.safetensors", "..", ".", "", "in/../1.safetensors", absolute.as_str()] {
            let error = says(&format!("\"a\": \"{name}\"")).expect_err("outside");
            assert!(error.contains("does not lie in its own folder"), "{name}: {error}");
        }
        assert!(says("\"a\": \"3.safetensors\"").expect_err("none").contains("is not beside it"));
    }
}
