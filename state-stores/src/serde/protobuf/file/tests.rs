//! What is found in files, and in texts that are none.

use super::parse::MOST_NESTED;
use super::*;

const FILE: &str = r#"
    syntax = "proto3";
    // message Commented { }
    package shop.events;
    import "google/protobuf/timestamp.proto";
    option java_package = "a { message Quoted { } }";
    enum Kind { /* message No { } */ NONE = 0; LOW = -0x2; HIGH = 017; }
    message Order {
        reserved 9, 12 to 15;
        option deprecated = true;
        option name = 5;
        message Line { string sku = 1; message Price { int64 cents = 1; Kind kind = 2; } }
        oneof payment { string card = 4; .shop.events.Order.Note note = 3; }
        enum State { OPEN = 0; }
        message Note { string text = 1; }
        repeated Line lines = 1 [deprecated = true, (shop.shown) = { as: "list" }];
        map<string, events.Order.Note> by_name = 2;
        google.protobuf.Timestamp at = 5;
        optional group Extra = 0x6 { required State state = 1; }
    }
    service Orders { rpc Place(Order) returns (Order) { option deprecated = true; } }
    message Return { string order = 1; Order.State state = 2; }
"#;

#[test]
fn messages_are_found_wherever_they_are() {
    let file = File::parse(FILE);
    let expected = [
        (&[0][..], "shop.events.Order"),
        (&[0, 0], "shop.events.Order.Line"),
        (&[0, 0, 0], "shop.events.Order.Line.Price"),
        (&[0, 1], "shop.events.Order.Note"),
        (&[0, 2], "shop.events.Order.Extra"),
        (&[1], "shop.events.Return"),
    ];
    assert_eq!(file.message_names().collect::<Vec<_>>(), expected.map(|(_, name)| name));
    for (place, name) in expected {
        assert_eq!(file.name_at(place).as_deref(), Some(name));
        assert_eq!(file.place(file.message(name).unwrap()), place);
    }
    assert_eq!((file.name_at(&[]), file.name_at(&[2]), file.name_at(&[1, 0])), (None, None, None));
    for no_message in ["Order", "shop.events.Line", "shop.events.Kind", "shop.events.Order.ByNameEntry"] {
        assert_eq!(file.message(no_message), None, "{no_message}");
    }
}

/// Number, label, name and type of each field.
fn fields(file: &File, message: &str) -> Vec<(u32, Label, String, String)> {
    let message = file.message(message).unwrap();
    let kind = |field| match file.kind(message, field) {
        Kind::Scalar(scalar) => format!("{scalar:?}"),
        Kind::Message(id) => file.full_name(id),
        Kind::Group(id) => format!("group {}", file.full_name(id)),
        Kind::Enum(id) => format!("enum {}", file.full_name(id)),
        Kind::Elsewhere(name) => format!("elsewhere {name}"),
    };
    let fields = file.fields(message).iter();
    fields.map(|(number, field)| (*number, field.label, field.name.clone(), kind(field))).collect()
}

#[test]
fn fields_have_numbers_labels_and_types() {
    let file = File::parse(FILE);
    let field = |number, label, name: &str, kind: &str| (number, label, name.to_owned(), kind.to_owned());
    assert_eq!(
        fields(&file, "shop.events.Order"),
        [
            field(1, Label::Repeated, "lines", "shop.events.Order.Line"),
            field(2, Label::Repeated, "by_name", "shop.events.Order.ByNameEntry"),
            field(3, Label::Implicit, "note", "shop.events.Order.Note"),
            field(4, Label::Implicit, "card", "String"),
            field(5, Label::Implicit, "at", "elsewhere google.protobuf.Timestamp"),
            field(6, Label::Optional, "extra", "group shop.events.Order.Extra"),
        ]
    );
    assert_eq!(
        fields(&file, "shop.events.Order.Line.Price"),
        [
            field(1, Label::Implicit, "cents", "Int64"),
            field(2, Label::Implicit, "kind", "enum shop.events.Kind"),
        ]
    );
    assert_eq!(
        fields(&file, "shop.events.Return")[1],
        field(2, Label::Implicit, "state", "enum shop.events.Order.State")
    );
    assert_eq!(
        fields(&file, "shop.events.Order.Extra"),
        [field(1, Label::Required, "state", "enum shop.events.Order.State")]
    );
    let order = file.message("shop.events.Order").unwrap();
    let oneofs: Vec<_> = file.fields(order).values().map(|field| field.oneof).collect();
    assert_eq!(oneofs, [None, None, Some(3), Some(3), None, None]);
    let kind = file.declared_in(None, "Kind").unwrap();
    let values: Vec<_> = file.values(kind).iter().map(|(number, name)| (*number, name.as_str())).collect();
    assert_eq!(values, [(-2, "LOW"), (0, "NONE"), (15, "HIGH")]);
}

#[test]
fn an_entry_of_a_map_is_a_message_of_key_and_value() {
    let short = File::parse("message A { map<string, int64> by_sku = 1; }");
    let long = File::parse(
        "message A { message BySkuEntry { string key = 1; int64 value = 2; } repeated BySkuEntry by_sku = 1; }",
    );
    assert_eq!(fields(&short, "A"), fields(&long, "A"));
    let entry = |file: &File| {
        let entry = file.declared_in(None, "A.BySkuEntry").unwrap();
        let names = file.fields(entry).iter().map(|(number, field)| (*number, field.type_name.clone()));
        names.collect::<Vec<_>>()
    };
    assert_eq!(entry(&short), entry(&long));
}

#[test]
fn broken_files_have_what_can_be_found() {
    let names = |file: &str| File::parse(file).message_names().collect::<Vec<_>>();
    for file in ["", "}}} \"never closed", "/* never closed message A {", "é'\\'", "[ message A {}"] {
        assert!(names(file).is_empty(), "{file}");
    }
    assert_eq!(names("}} message A { "), ["A"]);
    assert_eq!(names("] message A { oneof b { string c = 1"), ["A"]);
    assert_eq!(names(&"message A {".repeat(100)).len(), MOST_NESTED);
    for no_number in ["0", "-1", "536870912", "0x", "09", "+1", "99999999999999999999"] {
        let file = File::parse(&format!("message A {{ string b = {no_number}; }}"));
        assert!(fields(&file, "A").is_empty(), "{no_number}");
    }
}
