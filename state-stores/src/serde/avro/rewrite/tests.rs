//! Schema resolution by its rules, one after another, on literal bytes.

use apache_avro::Schema as Definition;
use proptest::prelude::*;

use super::super::input::ENDED;
use super::*;

fn shape(schema: &str) -> Result<Shape, String> {
    Shape::of(&Definition::parse_str(schema).map_err(|error| error.to_string())?)
}

fn plan(written: &str, read: &str) -> Result<Rewrite, Misfit> {
    Rewrite::plan(&shape(written).unwrap(), &shape(read).unwrap())
}

fn rewritten(written: &str, read: &str, bytes: &[u8]) -> Result<Vec<u8>, Misfit> {
    let mut out = Vec::new();
    plan(written, read)?.apply(bytes, &mut out)?;
    Ok(out)
}

/// A record `Order` with these fields.
fn order(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "Order", "namespace": "shop", "fields": [{fields}]}}"#)
}

fn assert_misfit(result: Result<Vec<u8>, Misfit>, path: &str, reason: &str) {
    let misfit = result.expect_err(reason);
    assert_eq!(misfit.path(), path, "{misfit:?}");
    assert!(misfit.reason.contains(reason), "{misfit:?}");
}

const SKU: &str = r#"{"name": "sku", "type": "string"}"#;
const QUANTITY: &str = r#"{"name": "quantity", "type": "int"}"#;

#[test]
fn fields_are_told_by_their_names() {
    let written = order(&format!("{QUANTITY}, {SKU}"));
    let read = order(&format!(r#"{SKU}, {{"name": "pieces", "type": "long", "default": 7}}"#));
    assert_eq!(
        rewritten(&written, &read, b"\x06\x02a").unwrap(),
        b"\x02a\x0e",
        "one is left out, one has its default"
    );
    assert_eq!(plan(&written, &read).unwrap().left_out().as_deref(), Some("quantity"));
    let without = plan(&order(SKU), &order(&format!("{SKU}, {QUANTITY}"))).expect_err("it has no default");
    assert_eq!(without.path(), "quantity");
}

#[test]
fn a_field_may_go_by_another_name() {
    let read = order(r#"{"name": "article", "type": "string", "aliases": ["sku"], "default": "none"}"#);
    assert_eq!(rewritten(&order(SKU), &read, b"\x02a").unwrap(), b"\x02a", "not the default");
    let named = |name: &str, more: &str| {
        format!(r#"{{"type": "record", "name": "{name}", "namespace": "shop", {more} "fields": [{SKU}]}}"#)
    };
    assert!(plan(&named("Order", ""), &named("Bought", "")).is_err());
    assert!(plan(&named("Order", ""), &named("Bought", r#""aliases": ["Order"],"#)).is_ok());
    assert!(
        plan(&named("Order", ""), &named("Order", "").replace("shop", "store")).is_ok(),
        "the last part counts"
    );
}

#[test]
fn numbers_become_wider_and_no_narrower() {
    for (written, read, bytes, expected) in [
        ("int", "long", &[5][..], &[5][..]),
        ("int", "float", &[5], &(-3.0_f32).to_le_bytes()),
        ("long", "double", &[5], &(-3.0_f64).to_le_bytes()),
        ("float", "double", &1.5_f32.to_le_bytes(), &1.5_f64.to_le_bytes()),
        ("string", "bytes", b"\x02a", b"\x02a"),
    ] {
        let quoted = |kind: &str| format!("\"{kind}\"");
        assert_eq!(
            rewritten(&quoted(written), &quoted(read), bytes).unwrap(),
            expected,
            "{written} to {read}"
        );
    }
    for (written, read) in [("long", "int"), ("double", "float"), ("string", "long"), ("null", "string")] {
        let misfit = plan(&format!("\"{written}\""), &format!("\"{read}\"")).expect_err("it is narrower");
        assert_eq!(misfit.reason, format!("it was written as {written}, which {read} cannot read"));
    }
    assert_misfit(rewritten("\"int\"", "\"int\"", b"\xfe\xff\xff\xff\xff\x01"), ".", "more than 32 bits");
    assert_misfit(rewritten("\"long\"", "\"long\"", &[0xff; 11]), ".", "more than 64 bits");
    assert_misfit(rewritten("\"boolean\"", "\"boolean\"", &[2]), ".", "0x02 is no boolean");
}

#[test]
fn logical_types_are_the_types_below_them() {
    let time = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;
    assert_eq!(rewritten(time, "\"long\"", &[5]).unwrap(), [5]);
    let cents = r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#;
    assert_eq!(rewritten("\"bytes\"", cents, b"\x02a").unwrap(), b"\x02a");
}

#[test]
fn branches_of_unions_are_told_by_their_names() {
    assert_eq!(rewritten("\"string\"", r#"["null", "string"]"#, b"\x02a").unwrap(), b"\x02\x02a");
    assert_eq!(rewritten(r#"["null", "string"]"#, "\"string\"", b"\x02\x02a").unwrap(), b"\x02a");
    let null = rewritten(&order(r#"{"name": "sku", "type": ["null", "string"]}"#), &order(SKU), b"\0");
    assert_misfit(null, "sku", "branch 0 of the union cannot be read: it was written as null");
    assert_misfit(rewritten(r#"["null"]"#, r#"["null"]"#, b"\x02"), ".", "1 is none of 1 branches");
    // What the other branch could read just as well, by its defaults.
    let events = |more: &str| {
        format!(
            r#"[{{"type": "record", "name": "Placed", "fields": [{SKU}{more}]}}, {{"type": "record", "name": "Cancelled", "fields": [{SKU}]}}]"#
        )
    };
    let read = events(r#", {"name": "note", "type": ["null", "string"], "default": null}"#);
    assert_eq!(rewritten(&events(""), &read, b"\0\x02a").unwrap(), b"\0\x02a\0");
    assert_eq!(rewritten(&events(""), &read, b"\x02\x02a").unwrap(), b"\x02\x02a");
}

#[test]
fn symbols_are_told_by_their_names() {
    let state = |symbols: &str, more: &str| {
        format!(r#"{{"type": "enum", "name": "State", "symbols": [{symbols}]{more}}}"#)
    };
    let (written, read) = (state(r#""A", "B", "C""#, ""), state(r#""C", "A""#, ""));
    assert_eq!(rewritten(&written, &read, &[4]).unwrap(), [0], "C");
    assert_misfit(rewritten(&written, &read, &[2]), ".", "the symbol B is none");
    assert_misfit(rewritten(&written, &read, &[6]), ".", "3 is none of 3 symbols");
    let read = state(r#""C", "A""#, r#", "default": "A""#);
    assert_eq!(rewritten(&written, &read, &[2]).unwrap(), [2], "the default");
    assert!(plan(&written, &read).unwrap().is_total());
}

#[test]
fn arrays_and_maps_come_in_blocks() {
    let (ints, longs) = (r#"{"type": "array", "items": "int"}"#, r#"{"type": "array", "items": "long"}"#);
    // Of two items; of one, with the length of the block before it; no more.
    assert_eq!(rewritten(ints, longs, &[4, 2, 4, 1, 2, 6, 0]).unwrap(), [4, 2, 4, 2, 6, 0]);
    let map = r#"{"type": "map", "values": "int"}"#;
    assert_eq!(rewritten(map, map, b"\x02\x02a\x05\0").unwrap(), b"\x02\x02a\x05\0");
    assert_misfit(rewritten(map, map, b"\x02\x02a"), "[a]", ENDED);
    assert_misfit(
        rewritten(ints, ints, &[0x80, 0x80, 0x80, 0x80, 0x10, 0]),
        ".",
        "items, it says, in 1 bytes",
    );
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
    assert_misfit(rewritten(ints, ints, &least), ".", "9223372036854775808 items");
}

#[test]
fn bytes_that_end_too_early_are_no_nulls() {
    let written = order(&format!(
        r#"{SKU}, {{"name": "note", "type": ["null", "string"]}}, {{"name": "gift", "type": "boolean"}}"#
    ));
    let bytes = b"\x02a\x02\x02b\x01";
    assert_eq!(rewritten(&written, &written, bytes).unwrap(), bytes);
    for (end, path) in [(0, "sku"), (1, "sku"), (2, "note"), (4, "note"), (5, "gift")] {
        assert_misfit(rewritten(&written, &written, &bytes[..end]), path, ENDED);
    }
    assert_misfit(rewritten(&written, &written, b"\x02a\0\x01!"), ".", "1 of 5 bytes are left over");
}

#[test]
fn a_misfit_names_the_field_within_others() {
    let lines = |quantity: &str| {
        order(&format!(
            r#"{{"name": "lines", "type": {{"type": "array", "items": {{"type": "record", "name": "Line", "fields": [
                {SKU}, {{"name": "quantity", "type": {quantity}}}]}}}}}}"#
        ))
    };
    let written = lines(r#"["null", "long"]"#);
    assert_misfit(
        rewritten(&written, &lines("\"long\""), b"\x04\x02a\x02\x02\x02b\0\0"),
        "lines[1].quantity",
        "null",
    );
    let never = plan(&written, &lines("\"string\"")).expect_err("a long is no string");
    assert_eq!(never.path(), "lines[*].quantity");
}

#[test]
fn defaults_are_of_any_type() {
    let written = r#"{"type": "record", "name": "Order", "fields": []}"#;
    for (kind, default, bytes) in [
        ("\"boolean\"", "true", &b"\x01"[..]),
        ("\"double\"", "1.5", &1.5_f64.to_le_bytes()),
        ("\"bytes\"", "\"\\u00ff\"", b"\x02\xff"),
        (r#"{"type": "fixed", "name": "F", "size": 1}"#, "\"\\u00ff\"", b"\xff"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#, "\"B\"", b"\x02"),
        (r#"{"type": "array", "items": "int"}"#, "[1, 2]", b"\x02\x02\x02\x04\0"),
        (r#"{"type": "map", "values": "int"}"#, r#"{"a": 1}"#, b"\x02\x02a\x02\0"),
        (r#"["null", "int"]"#, "null", b"\0"),
        (
            r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}"#,
            r#"{"a": 1}"#,
            b"\x02",
        ),
    ] {
        let read = format!(
            r#"{{"type": "record", "name": "Order", "fields": [{{"name": "f", "type": {kind}, "default": {default}}}]}}"#
        );
        assert_eq!(rewritten(written, &read, b"").unwrap(), bytes, "{kind}");
    }
}

#[test]
fn a_name_stands_for_what_it_means() {
    let written = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "first", "type": {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}},
        {"name": "second", "type": "Line"}]}"#;
    let read = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "second", "type": {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}}]}"#;
    assert_eq!(rewritten(written, read, b"\x02a\x02b").unwrap(), b"\x02b");
}

#[test]
fn schemas_without_limits_are_refused() {
    let node = r#"{"type": "record", "name": "Node", "namespace": "shop", "fields": [{"name": "next", "type": ["null", "Node"]}]}"#;
    let refused = shape(node).expect_err("it has no depth");
    assert!(refused.contains("shop.Node contains itself"), "{refused}");
    let refused = shape(r#"{"type": "array", "items": "null"}"#).expect_err("it has no length");
    assert!(refused.contains("an array of null"), "{refused}");
    // Each record has the one before it twice.
    let mut fields = r#"{"name": "r0", "type": {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "int"}]}}"#.to_owned();
    for record in 1..20 {
        let before = record - 1;
        fields.push_str(&format!(
            r#", {{"name": "r{record}", "type": {{"type": "record", "name": "R{record}", "fields": [
                {{"name": "a", "type": "R{before}"}}, {{"name": "b", "type": "R{before}"}}]}}}}"#
        ));
    }
    let refused = shape(&format!(r#"{{"type": "record", "name": "All", "fields": [{fields}]}}"#))
        .expect_err("it is huge");
    assert!(refused.contains("more than 10000 parts"), "{refused}");
}

proptest! {
    #[test]
    fn numbers_are_written_as_the_library_does(number: i64) {
        let long = Definition::Long;
        let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&long).build().unwrap();
        let bytes = writer.write_ser_to_vec(&number).unwrap();
        let mut ours = Vec::new();
        put_long(number, &mut ours);
        prop_assert_eq!(&ours, &bytes);
        prop_assert_eq!(Input::new(&bytes).long().unwrap(), number);
    }
}
