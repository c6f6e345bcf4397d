//! The fitted reduction on disk: one safetensors file, named after its kind.

use std::path::PathBuf;

use super::{Kind, ReduceError};
use crate::io::IoError;
use crate::io::tensors::{self, Tensor, Tensors, Values};
use crate::learn::pca::{Pca, TruncatedSvd};
use crate::learn::reduction::{Projection, Reduction};
use crate::learn::scale::{Normalizer, Scaler, StandardScaler};
use crate::store::{OutputFile, RunDir};

/// The file of a reduction of this kind.
fn path(dir: &RunDir, kind: Kind) -> PathBuf {
    dir.fitted(kind.word())
}

/// Writes `reduction`.
pub fn save(dir: &RunDir, reduction: &Reduction) -> Result<OutputFile, IoError> {
    let kind = Kind::of(reduction);
    let path = path(dir, kind);
    let number = |value: f64| vec![value];
    let facts = match &reduction.projection {
        Some(Projection::Pca(pca)) => vec![
            ("noise_variance", number(pca.noise_variance)),
            ("total_variance", number(pca.total_variance)),
            ("rows", number(pca.rows as f64)),
            ("whiten", number(f64::from(u8::from(pca.whiten)))),
        ],
        Some(Projection::Svd(svd)) => {
            vec![("total_variance", number(svd.total_variance)), ("rows", number(svd.rows as f64))]
        }
        None => vec![("columns", number(reduction.columns as f64))],
    };
    let mut all = Vec::new();
    let mut put = |name: &str, shape: &[usize], values| all.push(Tensor::new(name, shape, values));
    if let Some(Scaler::Standard(StandardScaler { mean, scale })) = &reduction.scaler {
        put("scaler.mean", &[mean.len()], Values::F64(mean));
        put("scaler.scale", &[scale.len()], Values::F64(scale));
    }
    let one = [1.0];
    if let Some(Scaler::L2(_)) = &reduction.scaler {
        put("scaler.l2", &[1], Values::F64(&one));
    }
    let directions = match &reduction.projection {
        Some(Projection::Pca(pca)) => {
            put("mean", &[pca.features], Values::F64(&pca.mean));
            Some((&pca.components, [&pca.explained_variance, &pca.explained_variance_ratio, &pca.singular_values]))
        }
        Some(Projection::Svd(svd)) => {
            Some((&svd.components, [&svd.explained_variance, &svd.explained_variance_ratio, &svd.singular_values]))
        }
        None => None,
    };
    if let Some((components, spectrum)) = directions {
        let k = spectrum[0].len();
        put("components", &[k, reduction.columns], Values::F32(components));
        for (name, values) in SPECTRUM.into_iter().zip(spectrum) {
            put(name, &[k], Values::F64(values));
        }
    }
    for (name, value) in &facts {
        put(name, &[1], Values::F64(value));
    }
    let digest = tensors::write(&path, &all)?;
    OutputFile::hashed(dir, &path, digest)
}

const SPECTRUM: [&str; 3] = ["explained_variance", "explained_variance_ratio", "singular_values"];

/// Reads the fitted reduction of a run; `file` is its file name in the classifier's card.
pub fn open(dir: &RunDir, file: &str) -> Result<Reduction, ReduceError> {
    let kind = Kind::ALL.into_iter().find(|kind| path(dir, *kind).ends_with(file));
    let kind = kind.ok_or_else(|| ReduceError::Unknown { file: file.to_string() })?;
    let mut stored = Tensors::read(&path(dir, kind))?;
    let scaler = match (stored.shape("scaler.mean"), stored.shape("scaler.l2")) {
        (Some(_), _) => Some(Scaler::Standard(StandardScaler {
            mean: stored.f64s("scaler.mean")?,
            scale: stored.f64s("scaler.scale")?,
        })),
        (_, Some(_)) => Some(Scaler::L2(Normalizer)),
        _ => None,
    };
    if kind == Kind::Scale {
        let reduction = Reduction { columns: stored.f64("columns")? as usize, scaler, projection: None };
        reduction.check()?;
        return Ok(reduction);
    }
    let width = stored.shape("components").and_then(|shape| shape.get(1)).copied();
    let columns = width.ok_or_else(|| IoError::Table {
        path: path(dir, kind),
        reason: "it has no tensor `components` of two dimensions".to_string(),
    })?;
    let [explained_variance, explained_variance_ratio, singular_values] = SPECTRUM.map(|name| stored.f64s(name));
    let (explained_variance, explained_variance_ratio) = (explained_variance?, explained_variance_ratio?);
    let (components, singular_values) = (stored.f32s("components")?, singular_values?);
    let (total_variance, rows) = (stored.f64("total_variance")?, stored.f64("rows")? as u64);
    let projection = if kind == Kind::Svd {
        Projection::Svd(TruncatedSvd {
            features: columns,
            components,
            explained_variance,
            explained_variance_ratio,
            singular_values,
            total_variance,
            rows,
        })
    } else {
        Projection::Pca(Pca {
            features: columns,
            mean: stored.f64s("mean")?,
            components,
            explained_variance,
            explained_variance_ratio,
            singular_values,
            noise_variance: stored.f64("noise_variance")?,
            total_variance,
            rows,
            whiten: stored.f64("whiten")? != 0.0,
        })
    };
    let reduction = Reduction { columns, scaler, projection: Some(projection) };
    reduction.check()?;
    Ok(reduction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::{DatasetBase, Fit, Transformer};
    use crate::learn::pca::{Components, PcaParams, SvdParams};
    use crate::learn::variance::VarianceAccumulator;
    use crate::table::FeatureMatrix;

    #[test]
    fn every_kind_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path());
        std::fs::create_dir_all(dir.classifier()).expect("folder");
        let table = FeatureMatrix::from_vec(9, 4, (0..36).map(|i| ((i * i) as f32 * 0.37).sin()).collect());
        let table = table.expect("9 × 4");
        let mut statistics = VarianceAccumulator::new(4);
        statistics.update(table.as_slice());
        let standard = Scaler::Standard(StandardScaler::of(&statistics.finish()).expect("rows"));
        let dataset = DatasetBase::new(&table, ());
        let params = PcaParams { components: Components::Count(3), whiten: true };
        let pca = Projection::Pca(params.fit(&dataset).expect("a PCA"));
        let svd = Projection::Svd(SvdParams { components: 2 }.fit(&dataset).expect("an SVD"));
        for (file, scaler, projection, outputs) in [
            ("pca.safetensors", None, Some(pca.clone()), 3),
            ("svd.safetensors", Some(Scaler::L2(Normalizer)), Some(svd), 2),
            ("scale.safetensors", Some(standard.clone()), None, 4),
            ("pca.safetensors", Some(standard), Some(pca), 3),
        ] {
            let reduction = Reduction { columns: 4, scaler, projection };
            let stored = save(&dir, &reduction).expect("written");
            assert_eq!(stored.file, format!("classifier/{file}"));
            let back = open(&dir, file).expect("read");
            assert_eq!((&back, back.outputs()), (&reduction, outputs));
            assert_eq!(back.transform(&table).expect("rows"), reduction.transform(&table).expect("rows"));
        }
        assert!(matches!(open(&dir, "umap.safetensors"), Err(ReduceError::Unknown { .. })));
    }
}
