//! Messages of two files beside each other.

use super::*;

/// The message `A` of one file as it is read as that of another.
fn fit(written: &str, read: &str) -> Fit {
    fit_of("A", written, read)
}

fn fit_of(message: &str, written: &str, read: &str) -> Fit {
    let (written, read) = (File::parse(written), File::parse(read));
    let side = |file| Side { file, message: File::message(file, message).unwrap() };
    compare(side(&written), side(&read))
}

/// A field of one type as it is read as one of another.
fn fit_of_types(written: &str, read: &str) -> Fit {
    let file = |kind: &str| {
        format!("message A {{ {kind} f = 1; }} enum E {{ NONE = 0; }} message B {{ string x = 1; }}")
    };
    fit(&file(written), &file(read))
}

#[test]
fn the_same_in_other_words_is_exactly_the_same() {
    let written = r#"syntax = "proto3"; package shop; message A { enum E { NONE = 0; ONE = 1; }
        message B { A whole = 1; } oneof one { B b = 2; string c = 3; } E e = 4; map<int32, B> bs = 5; }"#;
    let read = r#"// Of another tool.
        syntax = "proto3"; package shop; option java_package = "shop"; message A { reserved 9; map<int32, .shop.A.B> bs = 5;
        shop.A.E e = 4 [deprecated = true]; oneof other { string c = 3; A.B b = 2; } message B { shop.A whole = 1; }
        enum E { ONE = 1; NONE = 0; } }"#;
    let fit = fit_of("shop.A", written, read);
    assert!(fit.misfit.is_none() && fit.change.is_none() && fit.left_out.is_none());
    assert_eq!(fit.schema_match(), SchemaMatch::Exact);
}

#[test]
fn what_differs_only_in_names_is_the_same() {
    for (one, other) in [
        ("message A { string b = 1; }", "message A { string c = 1; }"),
        ("message A { B b = 1; } message B {}", "message A { C b = 1; } message C {}"),
        ("message A { E e = 1; } enum E { X = 0; }", "message A { E e = 1; } enum E { Y = 0; }"),
        ("message A { string b = 1; }", "message A { optional string b = 1; }"),
    ] {
        assert_eq!(fit(one, other).schema_match(), SchemaMatch::Same, "{one} {other}");
        assert_eq!(fit(one, one).schema_match(), SchemaMatch::Exact, "{one}");
    }
    for (one, other) in [
        ("message A { int32 b = 1; }", "message A { int64 b = 1; }"),
        ("message A { string b = 1; }", "message A { repeated string b = 1; }"),
        ("message A { string b = 1; }", "message A { string b = 1; string c = 2; }"),
        ("message A { string b = 1; string c = 2; }", "message A { string b = 1; }"),
        ("message A { E b = 1; } enum E { X = 0; }", "message A { E b = 1; } enum E { X = 0; Y = 1; }"),
        (
            "message A { oneof o { string b = 1; string c = 2; } }",
            "message A { string b = 1; oneof o { string c = 2; } }",
        ),
        ("message A { x.B b = 1; }", "message A { x.C b = 1; }"),
        (
            "message A { B b = 1; } message B { string x = 1; }",
            "message A { B b = 1; } message B { bytes x = 1; }",
        ),
    ] {
        let nearness = fit(one, other).schema_match();
        assert!(nearness < SchemaMatch::Same && nearness > SchemaMatch::Other, "{one} {other}: {nearness:?}");
    }
}

#[test]
fn fields_within_count() {
    let written = "message A { string id = 1; B b = 2; } message B { string x = 1; string more = 9; }";
    let near = "message A { string id = 1; B b = 2; } message B { string x = 1; }";
    let far = "message A { string id = 1; B b = 2; } message B { repeated string xs = 2; }";
    let readable =
        |written, missing| SchemaMatch::Readable { written, missing: Reverse(missing), always: true };
    assert_eq!(fit(written, near).schema_match(), readable(3, 0));
    assert_eq!(fit(written, far).schema_match(), readable(2, 1));
    let other = "message A { string name = 3; B b = 4; } message B { string x = 1; }";
    assert_eq!(
        fit(written, other).schema_match(),
        SchemaMatch::Other,
        "it has no field of the message itself"
    );
}

#[test]
fn types_fit_as_the_language_has_it() {
    for (written, read) in [
        ("int32", "int64"),
        ("uint32", "int64"),
        ("bool", "uint32"),
        ("sint32", "sint64"),
        ("string", "bytes"),
        ("E", "int32"),
        ("E", "E"),
        ("B", "B"),
        ("x.C", ".x.C"),
        ("string", "repeated string"),
        ("int32", "repeated int32"),
        ("repeated bytes", "repeated bytes"),
    ] {
        let fit = fit_of_types(written, read);
        assert!(fit.misfit.is_none() && fit.change.is_none(), "{written} as {read}");
    }
    for (written, read) in [
        ("int64", "int32"),
        ("int64", "uint64"),
        ("uint64", "bool"),
        ("sint64", "sint32"),
        ("bytes", "string"),
        ("int32", "E"),
        ("bytes", "B"),
        ("B", "bytes"),
        ("fixed64", "sfixed64"),
        ("x.C", "x.D"),
        ("x.C", "B"),
        ("x.C", "int32"),
        ("repeated string", "string"),
        ("repeated B", "B"),
        ("int32", "required int32"),
    ] {
        let fit = fit_of_types(written, read);
        assert!(fit.misfit.is_none() && fit.change.is_some(), "{written} as {read}");
    }
    for (written, read) in [
        ("string", "int64"),
        ("sint64", "int64"),
        ("int32", "fixed32"),
        ("float", "double"),
        ("float", "fixed32"),
        ("fixed32", "fixed64"),
        ("string", "B"),
        ("E", "sint32"),
        ("E", "string"),
        ("B", "E"),
        ("x.C", "string"),
        ("repeated int32", "int32"),
        ("repeated E", "E"),
        ("repeated double", "double"),
    ] {
        let misfit = fit_of_types(written, read).misfit;
        assert_eq!(misfit.map(|misfit| misfit.path).as_deref(), Some("A.f"), "{written} as {read}");
    }
    let group = "message A { optional group B = 1 { optional string x = 1; } }";
    assert_eq!(fit(group, group).schema_match(), SchemaMatch::Exact);
    let message = "message A { optional B b = 1; message B { optional string x = 1; } }";
    assert!(fit(group, message).misfit.is_some());
}

#[test]
fn messages_within_messages_are_compared_however_deep_they_are() {
    let chain = |last: &str| {
        let link = |number: usize| format!("message M{number} {{ M{} next = 1; A first = 2; }}", number + 1);
        let links: String = (0..5_000).map(link).collect();
        format!("message A {{ M0 next = 1; }} {links} message M5000 {{ {last} x = 1; }}")
    };
    assert_eq!(fit(&chain("string"), &chain("string")).schema_match(), SchemaMatch::Exact);
    let misfit = fit(&chain("string"), &chain("int64")).misfit.unwrap();
    assert_eq!(misfit.path, "M5000.x");
    assert_eq!(misfit.reason, "it is written as string, and read as int64");
}

#[test]
fn so_many_messages_are_compared_and_no_more() {
    // Each message of the one is met with each of the other.
    let ring = |size: usize| {
        let link = |number: usize| format!("message M{number} {{ M{} next = 1; }}", (number + 1) % size);
        let links: String = (0..size).map(link).collect();
        format!("message A {{ M0 next = 1; }} {links}")
    };
    let misfit = fit(&ring(101), &ring(103)).misfit.unwrap();
    assert!(misfit.reason.contains("more than 10000"), "{}", misfit.reason);
    assert!(fit(&ring(11), &ring(13)).misfit.is_none());
}
