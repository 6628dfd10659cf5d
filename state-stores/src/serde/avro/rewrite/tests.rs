//! Schema resolution by its rules, one after another, on literal bytes.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::super::input::ENDED;
use super::*;
use crate::schema::SchemaMatch;

fn plan_for(purpose: Purpose, written: &str, read: &str) -> Result<Rewrite, Misfit> {
    Rewrite::plan(&Shape::parse(written).unwrap(), &Shape::parse(read).unwrap(), purpose)
}

fn plan(written: &str, read: &str) -> Result<Rewrite, Misfit> {
    plan_for(Purpose::Reading, written, read)
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

fn readable(written: usize, missing: usize, always: bool) -> SchemaMatch {
    SchemaMatch::Readable { written, missing: Reverse(missing), always }
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
    assert_eq!(plan(&written, &read).unwrap().schema_match(), readable(0, 0, true));
    let fewer = plan(&written, &state(r#""C", "A""#, "")).unwrap();
    assert_eq!(fewer.schema_match(), readable(0, 0, false));
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
fn a_written_field_is_read_as_one() {
    let read = |second: &str| {
        order(&format!(
            r#"{{"name": "article", "type": "string", "aliases": ["sku"], "default": "none"}}, {second}"#
        ))
    };
    let named = read(r#"{"name": "sku", "type": "string"}"#);
    assert_eq!(rewritten(&order(SKU), &named, b"\x02a").unwrap(), b"\x08none\x02a", "names come first");
    let named = order(
        r#"{"name": "sku", "type": "string"}, {"name": "id", "type": "string", "aliases": ["sku", "key"]}"#,
    );
    let key = r#"{"name": "key", "type": "string"}"#;
    assert_eq!(
        rewritten(&order(&format!("{SKU}, {key}")), &named, b"\x02a\x02b").unwrap(),
        b"\x02a\x02b",
        "the alias that is free"
    );
    let both = read(r#"{"name": "product", "type": "string", "aliases": ["sku"]}"#);
    assert_misfit(
        rewritten(&order(SKU), &both, b"\x02a"),
        "sku",
        "both article and product have it as an alias",
    );
}

#[test]
fn decimals_keep_their_meaning() {
    let decimal = |precision: u8, scale: u8| {
        format!(
            r#"{{"type": "bytes", "logicalType": "decimal", "precision": {precision}, "scale": {scale}}}"#
        )
    };
    let is_read =
        |written: &str, read: &str| rewritten(written, read, b"\x02a").is_ok_and(|out| out == b"\x02a");
    assert!(is_read(&decimal(9, 2), &decimal(12, 2)), "it has room for more digits");
    for (other, what) in [(decimal(9, 3), "scale 3"), (decimal(8, 2), "precision 8")] {
        assert_misfit(rewritten(&decimal(9, 2), &other, b"\x02a"), ".", what);
    }
    let roomy = plan_for(Purpose::Writing, &decimal(9, 2), &decimal(12, 2));
    assert!(roomy.is_err(), "what has more digits could not be read again");
    let of_each_value = r#"{"type": "bytes", "logicalType": "big-decimal"}"#;
    assert!(is_read(of_each_value, of_each_value));
    assert_misfit(rewritten(&decimal(9, 2), of_each_value, b"\x02a"), ".", "which big-decimal cannot read");
    // One without a precision is none.
    assert!(is_read(r#"{"type": "bytes", "logicalType": "decimal", "scale": 3}"#, &decimal(9, 2)));
    let fixed = |scale: u8| {
        format!(
            r#"{{"type": "fixed", "name": "Cents", "size": 2, "logicalType": "decimal", "precision": 4, "scale": {scale}}}"#
        )
    };
    assert_eq!(rewritten(&fixed(2), &fixed(2), b"ab").unwrap(), b"ab");
    assert_misfit(rewritten(&fixed(2), &fixed(3), b"ab"), ".", "scale 3 in fixed Cents");
    let or_null = |kind: &str| format!(r#"["null", "string", {kind}]"#);
    assert_eq!(rewritten(&decimal(9, 2), &or_null(&decimal(9, 2)), b"\x02a").unwrap(), b"\x04\x02a");
}

#[test]
fn a_schema_is_near_by_the_fields_that_it_writes() {
    let near = |written: &str, read: &str| plan(&order(written), &order(read)).unwrap().schema_match();
    let more = |name: &str| format!(r#", {{"name": "{name}", "type": "long", "default": 7}}"#);
    assert_eq!(near(&format!("{SKU}{}", more("a")), SKU), readable(1, 0, true));
    assert_eq!(near(SKU, &format!("{SKU}{}{}", more("a"), more("b"))), readable(1, 2, true));
    assert_eq!(near(SKU, &more("a")[1..]), SchemaMatch::Other, "nothing but a default");
    assert_eq!(near(SKU, ""), SchemaMatch::Other);
    let line = |fields: &str| {
        format!(
            r#"{{"name": "line", "type": ["null", {{"type": "record", "name": "L", "fields": [{fields}]}}]}}"#
        )
    };
    assert_eq!(
        near(&line(&format!("{SKU}{}", more("a"))), &line(&format!("{SKU}{}", more("b")))),
        readable(2, 1, true)
    );
    assert_eq!(
        near(&line(SKU), r#"{"name": "line", "type": ["null", "string"], "default": null}"#),
        readable(1, 0, false)
    );
    assert_eq!(plan("\"int\"", "\"long\"").unwrap().schema_match(), readable(0, 0, true));
}

#[test]
fn logical_types_that_differ_may_mean_something_else() {
    let at = |kind: &str| format!(r#"{{"name": "at", "type": ["null", {kind}]}}, {SKU}"#);
    let time = |unit: &str| at(&format!(r#"{{"type": "long", "logicalType": "timestamp-{unit}"}}"#));
    let near = |written: &str, read: &str| plan(&order(written), &order(read)).unwrap().schema_match();
    assert_eq!(near(&time("millis"), &time("millis")), readable(2, 0, true));
    assert_eq!(near(&time("millis"), &time("micros")), SchemaMatch::Other);
    assert_eq!(near(&time("millis"), &at("\"long\"")), readable(2, 0, false));
    assert_eq!(
        rewritten(&order(&time("millis")), &order(&time("micros")), b"\x02\x06\x02a").unwrap(),
        b"\x02\x06\x02a"
    );
    let writing = |own: &str, newest: &str| plan_for(Purpose::Writing, &order(own), &order(newest));
    let misfit = writing(&time("millis"), &time("micros")).unwrap_err();
    assert_eq!(misfit.path(), "at");
    assert!(
        misfit.reason.starts_with("timestamp-millis in long would be written as timestamp-micros in long"),
        "{misfit:?}"
    );
    assert!(writing(&time("millis"), &at("\"long\"")).is_ok());
}

#[test]
fn what_is_written_comes_back_as_it_was() {
    let state = |symbols: &str| {
        format!(r#"{{"type": "enum", "name": "State", "symbols": [{symbols}], "default": "A"}}"#)
    };
    let line =
        |name: &str, fields: &str| format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#);
    let field = |kind: &str| order(&format!(r#"{{"name": "f", "type": {kind}}}"#));
    for (own, newest, path, reason) in [
        (state(r#""A", "B""#), state(r#""A""#), "f", "no symbol B, which would be lost"),
        (r#"["null", "string"]"#.into(), "\"string\"".into(), "f", "null would be written as string"),
        ("\"bytes\"".into(), "\"string\"".into(), "f", "bytes would be written as string"),
        ("\"long\"".into(), "\"double\"".into(), "f", "long would be written as double"),
        (
            r#"["null", "int"]"#.into(),
            r#"["null", "long"]"#.into(),
            "f",
            "int would be written as [null, long]",
        ),
        (
            format!(r#"["null", {}]"#, line("L", SKU)),
            format!(r#"["null", {}]"#, line("L", "")),
            "f",
            "no field sku",
        ),
        (
            format!(r#"[{}, {}]"#, line("a.L", SKU), line("b.L", SKU)),
            format!(r#"[{}, {}]"#, line("c.L", SKU), line("d.L", SKU)),
            "f",
            "[record a.L, record b.L] would be written as",
        ),
        (
            format!(r#"{{"type": "array", "items": {}}}"#, line("L", QUANTITY)),
            format!(r#"{{"type": "array", "items": {}}}"#, line("L", &QUANTITY.replace("int", "string"))),
            "f[*].quantity",
            "int would be written as string",
        ),
        (
            line("L", r#"{"name": "a", "type": "int", "default": 0}"#),
            line("L", r#"{"name": "b", "type": "int", "default": 0, "aliases": ["a"]}"#),
            "f",
            "no field a",
        ),
    ] {
        let misfit = plan_for(Purpose::Writing, &field(&own), &field(&newest)).expect_err(reason);
        assert_eq!(misfit.path(), path, "{misfit:?}");
        assert!(misfit.reason.contains(reason), "{misfit:?}");
    }
    // More symbols, branches and fields lose nothing.
    let more = order(&format!(
        r#"{{"name": "new", "type": "int", "default": 7}}, {{"name": "f", "type": ["null", {}]}}"#,
        state(r#""B", "A""#)
    ));
    let rewrite = plan_for(Purpose::Writing, &field(&state(r#""A", "B""#)), &more).unwrap();
    let mut out = Vec::new();
    rewrite.apply(&[0], &mut out).unwrap();
    assert_eq!(out, [14, 2, 2]);
}

#[test]
fn unions_within_unions_are_planned_in_no_time() {
    let nested = |innermost: &str| {
        (0..40).fold(format!("\"{innermost}\""), |within, _| {
            format!(r#"["null", {{"type": "array", "items": {within}}}]"#)
        })
    };
    let misfit = plan(&nested("int"), &nested("string"));
    // Nulls and empty arrays can be read, all the way down.
    assert_eq!(misfit.unwrap().schema_match(), readable(0, 0, false));
    let lists = |innermost: &str| {
        (0..60).fold(format!("\"{innermost}\""), |within, _| {
            format!(r#"{{"type": "array", "items": {within}}}"#)
        })
    };
    let _misfit = plan(&lists("int"), &nested("string")).expect_err("an int is no string");
}

proptest! {
    #[test]
    fn numbers_are_written_as_the_library_does(number: i64) {
        let long = apache_avro::Schema::Long;
        let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&long).build().unwrap();
        let bytes = writer.write_ser_to_vec(&number).unwrap();
        let mut ours = Vec::new();
        put_long(number, &mut ours);
        prop_assert_eq!(&ours, &bytes);
        prop_assert_eq!(Input::new(&bytes).long().unwrap(), number);
    }
}
