//! Writes tables as CSV (RFC 4180); numbers have the fewest digits from which the same bits are read.

use std::borrow::Cow;
use std::io::Write;

use crate::table::FeatureMatrix;

/// Returns a field, in quotes where it needs them.
pub fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

/// Writes the first line of a table with the column `path` and the columns `names`.
pub fn write_header(to: &mut dyn Write, names: &[String]) -> std::io::Result<()> {
    write!(to, "path")?;
    names.iter().try_for_each(|name| write!(to, ",{}", field(name)))?;
    writeln!(to)
}

/// Writes a line for each row of `matrix`.
pub fn write_rows(to: &mut dyn Write, paths: &[&str], matrix: &FeatureMatrix) -> std::io::Result<()> {
    for (path, row) in paths.iter().zip(matrix.iter_rows()) {
        write!(to, "{}", field(path))?;
        row.iter().try_for_each(|value| write!(to, ",{value}"))?;
        writeln!(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_every_bit_and_quotes_what_it_must() {
        let mut text = Vec::new();
        let values = vec![1.0f32 / 3.0, -0.0, 1e-12, f32::MAX];
        let matrix = FeatureMatrix::from_vec(2, 2, values.clone()).expect("2 × 2");
        write_header(&mut text, &["a".into(), "b,c".into()]).expect("written");
        write_rows(&mut text, &["x \"1\".png", "y.png"], &matrix).expect("written");
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "path,a,\"b,c\"");
        assert!(lines[1].starts_with("\"x \"\"1\"\".png\",0.33333334,-0"), "{text}");
        let back: Vec<f32> = lines[1..]
            .iter()
            .flat_map(|line| line.rsplitn(3, ',').take(2).collect::<Vec<_>>().into_iter().rev())
            .map(|value| value.parse().expect("a number"))
            .collect();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&values));
    }
}
