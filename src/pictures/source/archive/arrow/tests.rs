//! Streams that are compressed or empty.

use super::super::tests::{aside, golden, listed};
use super::*;

#[test]
fn compressed_buffers_are_named() {
    let met = listed(&golden("packed.arrow")).expect("listed");
    assert_eq!(aside(&met), [("", "damaged")]);
    let reason = met[0].content.as_ref().expect_err("a reason");
    assert!(reason.text.contains("its buffers are compressed"), "{reason:?}");
}

#[test]
fn buffers_are_counted_by_type() {
    let inner = Arc::new(Field::new("item", DataType::Utf8, true));
    for (kind, buffers) in [
        (DataType::Null, 0),
        (DataType::Int8, 2),
        (DataType::Utf8, 3),
        (DataType::List(inner.clone()), 5),
        (DataType::FixedSizeList(inner.clone(), 2), 4),
        (DataType::Struct(vec![inner.clone(), inner].into()), 7),
        (DataType::FixedSizeBinary(3), 2),
    ] {
        assert_eq!(count(&kind), Ok(buffers), "{kind}");
    }
    assert!(count(&DataType::Utf8View).is_err());
}
