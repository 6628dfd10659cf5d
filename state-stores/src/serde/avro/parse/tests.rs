//! Schemas that are some, and texts that are none.

use super::*;

fn refused(schema: &str) -> String {
    match Shape::parse(schema) {
        Err(reason) => reason,
        Ok(shape) => panic!("{shape}"),
    }
}

fn parsed(schema: &str) -> Shape {
    Shape::parse(schema).unwrap_or_else(|reason| panic!("{schema}: {reason}"))
}

#[test]
fn what_is_no_schema_is_refused_with_the_reason() {
    for (schema, reason) in [
        ("{", "EOF while parsing"),
        ("7", "7 is no type"),
        ("{}", "a \"type\" is missing"),
        (r#""Order""#, "it does not say what Order is"),
        (r#"["int", "int"]"#, "a union has int twice"),
        (r#"["null", ["int"]]"#, "[int] is a branch of another union"),
        (r#"{"type": "record", "fields": []}"#, "a \"name\" is missing"),
        (r#"{"type": "record", "name": "Order", "fields": {}}"#, "\"fields\" are no list"),
        (r#"{"type": "record", "name": "Order", "fields": [7]}"#, "7 is no field of Order"),
        (
            r#"{"type": "record", "name": "Order", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}"#,
            "two fields of Order are called a",
        ),
        (
            r#"{"type": "enum", "name": "State", "symbols": ["A", "A"]}"#,
            "the symbol A is twice in the enum State",
        ),
        (r#"{"type": "fixed", "name": "Id", "size": -1}"#, "-1 is no size of Id"),
    ] {
        let refused = refused(schema);
        assert!(refused.starts_with("it is no Avro schema: ") && refused.contains(reason), "{refused}");
    }
}

#[test]
fn defaults_that_are_none_matter_only_to_who_reads_by_the_schema() {
    let field = |default: &str| {
        format!(r#"{{"type": "record", "name": "Order", "fields": [{{"name": "a", {default}}}]}}"#)
    };
    let long = format!(r#""type": "string", "default": "{}""#, "x".repeat(64 << 10));
    for (schema, reason) in [
        (field(r#""type": "int", "default": "x""#), "field a of Order: its default \"x\" is no int"),
        (field(r#""type": "long", "default": null"#), "field a of Order: its default null is no long"),
        (field(&long), "field a of Order: its default has more than 65536 bytes"),
        (
            r#"{"type": "enum", "name": "State", "symbols": ["A"], "default": "B"}"#.to_owned(),
            "enum State: its default \"B\" is no symbol",
        ),
        (
            r#"["null", {"type": "array", "items": {"type": "map", "values": {"type": "record", "name": "Line", "fields":
                [{"name": "sku", "type": "string"}, {"name": "n", "type": ["null", "int"], "default": "x"}]}}}]"#
                .to_owned(),
            "field n of Line: its default \"x\" is no [null, int]",
        ),
    ] {
        parsed(&schema);
        let refused = Shape::parse_to_read_by(&schema).err().unwrap_or_else(|| panic!("{schema}"));
        assert_eq!(refused, format!("it is no Avro schema: {reason}"));
    }
}

/// As registries hold them, where tools wrote attributes of their own, some of which the library panics over.
#[test]
fn attributes_of_others_mean_nothing() {
    let plain = r#"{"type": "record", "name": "shop.Order", "fields": [{"name": "sku", "type": "string"}]}"#;
    let with_more = r#"{"type": "record", "name": "Order", "namespace": "shop", "doc": "one", "aliases": ["Bought"], "size": true, "order": 1,
        "connect.name": "x", "fields": [{"name": "sku", "order": 5, "precision": "many", "aliases": ["id"], "default": "none",
            "type": {"type": "string", "avro.java.string": "String", "scale": {"a": null}}}]}"#;
    assert!(parsed(plain).is_exactly(&parsed(with_more)) && parsed(with_more).is_exactly(&parsed(plain)));
    for other in [
        plain.replace("shop.", ""),
        plain.replace("sku", "id"),
        plain.replace("string", "bytes"),
        plain.replace("[{", r#"[{"name": "more", "type": "int"}, {"#),
    ] {
        assert!(!parsed(plain).says_the_same(&parsed(&other)), "{other}");
    }
    let default = r#"{"type": "record", "name": "Order", "fields": [{"name": "a", "default": 3,
        "type": {"type": "array", "items": "int", "scale": "x"}}]}"#;
    let wrong = parsed(default).check_defaults();
    assert!(wrong.is_err_and(|wrong| wrong.contains("its default 3 is no array of int")));
}

#[test]
fn schemas_say_the_same_only_if_their_bytes_mean_the_same() {
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#;
    let state = r#"{"type": "enum", "name": "State", "symbols": ["A", "B"]}"#;
    let id = r#"{"type": "fixed", "name": "Id", "size": 16}"#;
    for (one, other) in [
        ("\"int\"", "\"long\"".to_owned()),
        (decimal, decimal.replace('2', "3")),
        (decimal, "\"bytes\"".to_owned()),
        (state, state.replace(r#""A", "B""#, r#""B", "A""#)),
        (id, id.replace("16", "8")),
        (id, id.replace("Id", "Key")),
        (r#"["null", "int"]"#, r#"["int", "null"]"#.to_owned()),
        (r#"["null", "int"]"#, r#"["null"]"#.to_owned()),
        (r#"{"type": "array", "items": "int"}"#, r#"{"type": "map", "values": "int"}"#.to_owned()),
        (r#"{"type": "array", "items": "int"}"#, r#"{"type": "array", "items": "long"}"#.to_owned()),
    ] {
        assert!(parsed(one).says_the_same(&parsed(one)), "{one}");
        assert!(!parsed(one).says_the_same(&parsed(&other)), "{one} and {other}");
    }
    let time = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;
    for other in ["\"long\"".to_owned(), time.replace("millis", "micros")] {
        let (time, other) = (parsed(time), parsed(&other));
        assert!(time.says_the_same(&other), "the bytes are the same");
        assert!(time.is_exactly(&time) && !time.is_exactly(&other) && !other.is_exactly(&time), "{other}");
    }
    let within = |kind: &str| {
        format!(
            r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": ["null", {{"type": "array", "items": {kind}}}]}}]}}"#
        )
    };
    assert!(!parsed(&within(time)).is_exactly(&parsed(&within("\"long\""))));
    assert!(parsed(&within(time)).is_exactly(&parsed(&within(time))));
}

#[test]
fn schemas_may_be_so_deep_and_no_deeper() {
    let within = |arrays: usize| {
        format!(r#"{}"int"{}"#, r#"{"type": "array", "items": "#.repeat(arrays), "}".repeat(arrays))
    };
    parsed(&within(MOST_DEPTH - 1));
    assert_eq!(refused(&within(MOST_DEPTH)), "its parts lie more than 100 deep within each other");
    assert!(refused(&within(100_000)).contains("recursion limit exceeded"));
    assert!(refused(&"[".repeat(100_000)).contains("recursion limit exceeded"));
    assert!(refused(&r#"{"type": "#.repeat(100_000)).contains("recursion limit exceeded"));
    // Names that stand for names.
    let record = |number: usize| {
        let before = number.checked_sub(1).map_or("\"int\"".to_owned(), |before| format!("\"R{before}\""));
        format!(
            r#"{{"name": "r{number}", "type": {{"type": "record", "name": "R{number}", "fields": [{{"name": "a", "type": {before}}}]}}}}"#
        )
    };
    let records = |count: usize| {
        let fields: Vec<_> = (0..count).map(record).collect();
        format!(r#"{{"type": "record", "name": "All", "fields": [{}]}}"#, fields.join(", "))
    };
    parsed(&records(MOST_DEPTH - 2));
    assert!(refused(&records(MOST_DEPTH)).contains("deep within each other"));
}

#[test]
fn schemas_without_limits_are_refused() {
    let node = r#"{"type": "record", "name": "Node", "namespace": "shop", "fields": [{"name": "next", "type": ["null", "Node"]}]}"#;
    assert!(refused(node).contains("shop.Node contains itself"));
    assert!(refused(r#"{"type": "array", "items": "null"}"#).contains("an array of null"));
    // Each record has the one before it twice.
    let mut fields = r#"{"name": "r0", "type": {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "int"}]}}"#.to_owned();
    for record in 1..20 {
        let before = record - 1;
        fields.push_str(&format!(
            r#", {{"name": "r{record}", "type": {{"type": "record", "name": "R{record}", "fields": [
                {{"name": "a", "type": "R{before}"}}, {{"name": "b", "type": "R{before}"}}]}}}}"#
        ));
    }
    let all = format!(r#"{{"type": "record", "name": "All", "fields": [{fields}]}}"#);
    assert!(refused(&all).contains("more than 10000 parts"));
    // Each default has twenty of those before it.
    let items = vec!["{}"; 20].join(",");
    let lists = (0..5).fold("\"int\"".to_owned(), |within, number| {
        let default = if number == 0 { "0" } else { &format!("[{items}]") };
        let record = format!(
            r#"{{"type": "record", "name": "R{number}", "fields": [{{"name": "f", "type": {within}, "default": {default}}}]}}"#
        );
        format!(r#"{{"type": "array", "items": {record}}}"#)
    });
    let too_long = parsed(&lists).check_defaults();
    assert!(too_long.is_err_and(|reason| reason.contains("its default has more than 65536 bytes")));
    let long =
        format!(r#"{{"type": "record", "name": "{}", "fields": []}}"#, "n".repeat(MOST_NAME_BYTES + 1));
    assert!(refused(&long).contains("one of its names has more than 1000 bytes"));
    let logical = format!(r#"{{"type": "long", "logicalType": "{}"}}"#, "n".repeat(MOST_NAME_BYTES + 1));
    assert!(refused(&logical).contains("one of its names has more than 1000 bytes"));
}
