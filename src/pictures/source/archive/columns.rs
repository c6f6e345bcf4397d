//! Finds the columns of a table with pictures, classes and names: first those that the YAML names, then those that
//! Hugging Face's `datasets` notes in the schema
//! (`{"info": {"features": {"label": {"names": […], "_type": "ClassLabel"}}}}`), then those that are unambiguous.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::Value;

use super::{ListError, Met, Reason, most_members, name, too_many};
pub(crate) use crate::config::PictureColumns as Columns;
use crate::config::suggest;
use crate::stages::scan::{Kind, shared};

/// The field of a struct that has the bytes of a picture.
pub(super) const BYTES: &str = "bytes";
/// Names of picture columns, for tables with several columns of bytes.
const USUAL: [&str; 4] = ["image", "img", "picture", "photo"];

/// The indices of the columns of one table.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) image: usize,
    pub(super) label: Option<usize>,
    pub(super) path: Option<usize>,
    /// The names of classes that the column has as numbers.
    names: Vec<String>,
}

impl Chosen {
    /// Finds the columns of a table.
    pub(super) fn of(schema: &Schema, columns: &Columns) -> Result<Self, ListError> {
        let features = features(schema);
        let label = match &columns.label {
            Some(name) => Some(find(schema, "input.parquet.label", name, is_class, "classes: text or whole numbers")?),
            None => the_label(schema, &features),
        };
        let path = columns.path.as_ref().map(|name| find(schema, "input.parquet.path", name, is_text, "text"));
        let image = match &columns.image {
            Some(name) => find(schema, "input.parquet.image", name, is_picture, "bytes, or a struct with `bytes`")?,
            None => the_image(schema, &features)?,
        };
        let names = label.and_then(|label| features.get(schema.field(label).name())?.get("names")?.as_array());
        let names = names.into_iter().flatten().filter_map(|name| name.as_str().map(String::from)).collect();
        Ok(Self { image, label, path: path.transpose()?, names })
    }
}

/// The features noted by `datasets`, by column.
fn features(schema: &Schema) -> serde_json::Map<String, Value> {
    let noted = schema.metadata.get("huggingface").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut noted = noted.unwrap_or_default();
    match noted.pointer_mut("/info/features").map(Value::take) {
        Some(Value::Object(features)) => features,
        _ => serde_json::Map::new(),
    }
}

fn find(
    schema: &Schema,
    key: &'static str,
    wanted: &str,
    fits: fn(&DataType) -> bool,
    kind: &str,
) -> Result<usize, ListError> {
    let Some(at) = schema.fields.iter().position(|field| field.name() == wanted) else {
        let meant = suggest(wanted, schema.fields.iter().map(|field| field.name().as_str()));
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        let text = format!("it has no column `{wanted}`; its columns are {}{meant}", listed(schema));
        return Err(ListError::Column(key, text));
    };
    let found = schema.field(at).data_type();
    if fits(found) {
        return Ok(at);
    }
    Err(ListError::Column(key, format!("its column `{wanted}` is to hold {kind}, and holds {found}")))
}

fn listed(schema: &Schema) -> String {
    let names: Vec<String> = schema.fields.iter().take(20).map(|field| format!("`{}`", field.name())).collect();
    names.join(", ") + if schema.fields.len() > names.len() { ", …" } else { "" }
}

fn the_image(schema: &Schema, features: &serde_json::Map<String, Value>) -> Result<usize, ListError> {
    let fitting = |fits: &dyn Fn(&Field) -> bool| -> Vec<usize> {
        (0..schema.fields.len()).filter(|&i| is_picture(schema.field(i).data_type()) && fits(schema.field(i))).collect()
    };
    let rules: [&dyn Fn(&Field) -> bool; 4] = [
        &|field| features.get(field.name()).is_some_and(|feature| feature["_type"] == "Image"),
        &|field| matches!(field.data_type(), DataType::Struct(_)),
        &|field| USUAL.iter().any(|name| field.name().eq_ignore_ascii_case(name)),
        &|_| true,
    ];
    if let Some(one) = rules.iter().find_map(|rule| <[usize; 1]>::try_from(fitting(rule)).ok()) {
        return Ok(one[0]);
    }
    let several = fitting(&|_| true).len();
    let text = match several {
        0 => format!("no column of it holds bytes of pictures; its columns are {}", listed(schema)),
        _ => format!(
            "{several} columns of it hold bytes; name one, `parquet: {{image: …}}`; its columns are {}",
            listed(schema)
        ),
    };
    Err(ListError::Column("input.parquet", text))
}

fn the_label(schema: &Schema, features: &serde_json::Map<String, Value>) -> Option<usize> {
    let classes = |i: &usize| {
        let field = schema.field(*i);
        is_class(field.data_type()) && features.get(field.name()).is_some_and(|one| one["_type"] == "ClassLabel")
    };
    let all: Vec<usize> = (0..schema.fields.len()).filter(classes).collect();
    let named = || schema.fields.iter().position(|field| field.name() == "label" && is_class(field.data_type()));
    if let [one] = all[..] { Some(one) } else { named() }
}

/// Whether a column of this type can contain pictures.
fn is_picture(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => bytes_of(fields).is_some_and(|(_, field)| is_bytes(field.data_type())),
        kind => is_bytes(kind),
    }
}

/// The field of a struct that has the bytes, and its index.
pub(super) fn bytes_of(fields: &Fields) -> Option<(usize, &Arc<Field>)> {
    fields.find(BYTES)
}

fn is_bytes(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn is_class(kind: &DataType) -> bool {
    kind.is_integer() || *kind == DataType::Boolean || is_text(kind)
}

/// Rows of a table as they are listed.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) met: Vec<Met>,
    /// The names so far, if there is a column of names.
    names: BTreeSet<String>,
    classes: BTreeSet<Arc<str>>,
    /// Digits of a row number in a name.
    digits: usize,
    replaced: usize,
    most: usize,
}

impl Rows {
    /// For a table of `rows` rows (0 if unknown) and `bytes` bytes.
    pub(super) fn new(rows: u64, bytes: u64) -> Self {
        let (met, names, classes) = Default::default();
        // at least six digits, so that names stay the same if the table grows
        let digits = rows.saturating_sub(1).max(1).ilog10() as usize + 1;
        Self { met, names, classes, digits: digits.max(6), replaced: 0, most: most_members(bytes) }
    }

    /// Adds the row `number` with its class and name.
    pub(super) fn take(
        &mut self,
        number: u64,
        content: Result<super::Member, Reason>,
        label: Option<Arc<str>>,
        given: Option<&str>,
    ) -> Result<(), ListError> {
        if self.met.len() >= self.most {
            return Err(too_many(self.most));
        }
        let numbered = || format!("{number:0digits$}", digits = self.digits);
        let (path, content) = match given.filter(|given| !given.is_empty()) {
            None => (numbered(), content),
            Some(given) => match name::clean(given.as_bytes(), false) {
                Err(text) => (numbered(), Err(Reason::new(Kind::BadName, text))),
                Ok(path) if !self.names.insert(path.clone()) => {
                    self.replaced += 1;
                    return Ok(());
                }
                Ok(path) => (path, content),
            },
        };
        self.met.push(Met { path, content, label });
        Ok(())
    }

    /// Returns all rows, and the fault of the table if it has one.
    pub(super) fn finish(mut self, of_table: Option<Reason>) -> Vec<Met> {
        if self.replaced > 0 {
            let text = format!("{} rows of it have the name of an earlier one, which counts", self.replaced);
            let content = Err(Reason::new(Kind::Duplicate, text));
            self.met.push(Met { path: String::new(), content, label: None });
        }
        self.met.extend(of_table.map(|reason| Met { path: String::new(), content: Err(reason), label: None }));
        self.met
    }

    /// The classes of a column; a number is replaced by its name if the table has names. None for null, an empty text
    /// and a number without a name.
    pub(super) fn classes(&mut self, chosen: &Chosen, column: &ArrayRef) -> Result<Vec<Option<Arc<str>>>, String> {
        let texts = texts(column)?;
        let class = |text: Option<String>| {
            let text = text.filter(|text| !text.is_empty())?;
            let text = match text.parse::<i64>() {
                Ok(number) if !chosen.names.is_empty() && column.data_type().is_integer() => {
                    chosen.names.get(usize::try_from(number).ok()?)?
                }
                _ => &text,
            };
            Some(shared(&mut self.classes, text))
        };
        Ok(texts.into_iter().map(class).collect())
    }
}

/// The values of a column as text.
pub(super) fn texts(column: &ArrayRef) -> Result<Vec<Option<String>>, String> {
    let column = cast(column, &DataType::Utf8).map_err(|error| error.to_string())?;
    Ok(column.as_string::<i32>().iter().map(|text| text.map(String::from)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    fn schema(fields: &[(&str, DataType)], features: &str) -> Schema {
        let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        let noted = format!(r#"{{"info": {{"features": {features}}}}}"#);
        Schema::new(fields).with_metadata([("huggingface".to_string(), noted)])
    }

    fn picture() -> DataType {
        let fields = [Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)];
        DataType::Struct(fields.to_vec().into())
    }

    fn chosen(schema: &Schema, columns: &Columns) -> Result<(usize, Option<usize>, Option<usize>), String> {
        match Chosen::of(schema, columns) {
            Ok(chosen) => Ok((chosen.image, chosen.label, chosen.path)),
            Err(ListError::Column(key, text)) => Err(format!("{key}: {text}")),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    #[test]
    fn columns_are_those_that_are_named_or_can_only_be_meant() {
        let none = Columns::default();
        let hugging = schema(
            &[("a", picture()), ("fine", DataType::Int64), ("image", picture()), ("label", DataType::Int64)],
            r#"{"image": {"_type": "Image"}, "fine": {"_type": "ClassLabel", "names": ["x"]}}"#,
        );
        assert_eq!(chosen(&hugging, &none), Ok((2, Some(1), None)));
        let plain = schema(&[("id", DataType::Utf8), ("raw", DataType::LargeBinary), ("label", DataType::Utf8)], "{}");
        assert_eq!(chosen(&plain, &none), Ok((1, Some(2), None)));
        let named = Columns { image: Some("raw".into()), label: Some("id".into()), path: Some("id".into()) };
        assert_eq!(chosen(&plain, &named), Ok((1, Some(0), Some(0))));
        for (columns, text) in [
            (
                Columns { image: Some("rae".into()), ..none.clone() },
                "input.parquet.image: it has no column `rae`; its columns are `id`, `raw`, `label`; did you mean `raw`?",
            ),
            (
                Columns { image: Some("id".into()), ..none.clone() },
                "input.parquet.image: its column `id` is to hold bytes, or a struct with `bytes`, and holds Utf8",
            ),
            (
                Columns { path: Some("raw".into()), ..none.clone() },
                "input.parquet.path: its column `raw` is to hold text, and holds LargeBinary",
            ),
        ] {
            assert_eq!(chosen(&plain, &columns), Err(text.to_string()));
        }
        let two = schema(&[("a", DataType::Binary), ("b", DataType::Binary)], "{}");
        assert!(chosen(&two, &none).is_err_and(|text| text.contains("2 columns of it hold bytes")));
        let usual = schema(&[("a", DataType::Binary), ("Image", DataType::Binary)], "{}");
        assert_eq!(chosen(&usual, &none), Ok((1, None, None)));
        assert!(chosen(&schema(&[("a", DataType::Utf8)], "{}"), &none).is_err());
        assert_eq!(chosen(&schema(&[("a", DataType::Binary)], "{"), &none), Ok((0, None, None)));
    }

    #[test]
    fn numbers_stand_for_names_where_there_are_names() {
        let classes = |features: &str, column: ArrayRef| {
            let schema = schema(&[("a", DataType::Binary), ("label", column.data_type().clone())], features);
            let chosen = Chosen::of(&schema, &Columns::default()).expect("chosen");
            let classes = Rows::new(4, 0).classes(&chosen, &column).expect("classes");
            classes.iter().map(|class| class.as_deref().unwrap_or("-").to_string()).collect::<Vec<_>>().join(" ")
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(-1), Some(7), None]));
        let named = r#"{"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}"#;
        assert_eq!(classes(named, numbers.clone()), "dog cat - - -");
        assert_eq!(classes("{}", numbers), "1 0 -1 7 -");
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("kiwi"), Some(""), None]));
        assert_eq!(classes(named, texts), "kiwi - -");
    }

    #[test]
    fn rows_have_numbers_or_names() {
        let mut rows = Rows::new(10, 0);
        let content = || Err(Reason::new(Kind::Missing, "x"));
        for (i, given) in [None, Some("a/b.jpg"), Some("a//b.jpg"), Some("../c"), Some("")].into_iter().enumerate() {
            rows.take(i as u64, content(), None, given).expect("taken");
        }
        let paths: Vec<String> = rows.finish(None).into_iter().map(|met| met.path).collect();
        assert_eq!(paths, ["000000", "a/b.jpg", "000003", "000004", ""]);
    }
}
