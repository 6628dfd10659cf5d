//! What two JSON Schemas have to do with each other, as far as it can be told from the types and properties that they declare. What else they say,
//! in `$ref` or `anyOf` for instance, is not looked at: no contradiction is found there, and no nearness.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::schema::SchemaMatch;

/// How near the schema that wrote is to the one that reads.
pub(super) fn schema_match(written: &Value, read: &Value) -> SchemaMatch {
    if written == read {
        return SchemaMatch::Exact;
    }
    let (Some(of_writer), Some(of_reader)) = (properties(written), properties(read)) else {
        return SchemaMatch::Other;
    };
    let both = of_reader.keys().filter(|name| of_writer.contains_key(*name)).count();
    if both == 0 || contradiction(written, read).is_some() {
        return SchemaMatch::Other;
    }
    SchemaMatch::Readable { written: both, missing: Reverse(of_reader.len() - both), always: false }
}

/// Where both declare types, none of which the other has; and which they are.
pub(super) fn contradiction(written: &Value, read: &Value) -> Option<String> {
    first_in_both(written, read, ".", &|written, read, path| {
        let (of_writer, of_reader) = (types(written)?, types(read)?);
        of_writer.is_disjoint(&of_reader).then(|| {
            format!(
                "field {path} is {} where it is written, and {} where it is read",
                list(&of_writer),
                list(&of_reader)
            )
        })
    })
}

/// Where a value may be written that the newest schema does not take; the path, and why.
pub(super) fn refusal(own: &Value, newest: &Value) -> Option<(String, String)> {
    first_in_both(own, newest, ".", &|own, newest, path| {
        let reason = refused_types(own, newest).or_else(|| refused_properties(own, newest))?;
        Some((path.to_owned(), reason))
    })
}

fn refused_types(own: &Value, newest: &Value) -> Option<String> {
    let (of_own, of_newest) = (types(own)?, types(newest)?);
    (!of_own.is_subset(&of_newest))
        .then(|| format!("{} would be written as {}", list(&of_own), list(&of_newest)))
}

fn refused_properties(own: &Value, newest: &Value) -> Option<String> {
    let (of_own, of_newest) = (properties(own)?, properties(newest)?);
    let is_closed = newest.get("additionalProperties") == Some(&Value::Bool(false))
        && newest.get("patternProperties").is_none();
    let unknown = of_own.keys().find(|name| is_closed && !of_newest.contains_key(*name));
    if let Some(unknown) = unknown {
        return Some(format!("that takes no field {unknown}"));
    }
    let required = newest.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = required.filter_map(Value::as_str).find(|name| !of_own.contains_key(*name));
    missing.map(|missing| format!("that requires a field {missing}"))
}

/// What `look` finds first: in the schemas themselves, or in those of a property that both declare. No deeper than the library of JSON reads.
fn first_in_both<R>(
    one: &Value,
    other: &Value,
    path: &str,
    look: &dyn Fn(&Value, &Value, &str) -> Option<R>,
) -> Option<R> {
    look(one, other, path).or_else(|| {
        let (of_one, of_other) = (properties(one)?, properties(other)?);
        of_one.iter().find_map(|(name, schema)| {
            let path = if path == "." { name.clone() } else { format!("{path}.{name}") };
            first_in_both(schema, of_other.get(name)?, &path, look)
        })
    })
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// The types of the values that a schema takes, if it says so. An integer is a number.
fn types(schema: &Value) -> Option<BTreeSet<&str>> {
    let mut types: BTreeSet<&str> = match schema.get("type")? {
        Value::String(name) => BTreeSet::from([name.as_str()]),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    if types.contains("number") {
        types.insert("integer");
    }
    Some(types).filter(|types| !types.is_empty())
}

fn list(types: &BTreeSet<&str>) -> String {
    types.iter().copied().collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(properties: Value) -> Value {
        json!({"title": "Order", "type": "object", "properties": properties})
    }

    fn readable(written: usize, missing: usize) -> SchemaMatch {
        SchemaMatch::Readable { written, missing: Reverse(missing), always: false }
    }

    #[test]
    fn schemas_are_near_by_the_properties_that_they_share() {
        let own = order(json!({"sku": {"type": "string"}, "quantity": {"type": "integer"}}));
        let near = |written: Value| schema_match(&written, &own);
        assert_eq!(near(own.clone()), SchemaMatch::Exact);
        let again = r#"{"properties": {"quantity": {"type": "integer"}, "sku": {"type": "string"}}, "type": "object", "title": "Order"}"#;
        assert_eq!(
            near(serde_json::from_str(again).unwrap()),
            SchemaMatch::Exact,
            "the order makes no difference"
        );
        assert_eq!(near(order(json!({"sku": {"type": ["string", "null"]}}))), readable(1, 1));
        assert_eq!(
            near(order(json!({"sku": true, "quantity": {"type": "number"}, "note": {}}))),
            readable(2, 0)
        );
        assert_eq!(
            near(order(json!({"sku": {"type": "string"}, "quantity": {"type": "string"}}))),
            SchemaMatch::Other
        );
        for nothing in
            [order(json!({"lines": {"type": "array"}})), json!({"title": "Order"}), json!(true), json!(7)]
        {
            assert_eq!(near(nothing), SchemaMatch::Other);
        }
    }

    #[test]
    fn types_that_contradict_each_other_are_found_where_they_are() {
        let own =
            order(json!({"sku": {"type": "string"}, "price": order(json!({"cents": {"type": "integer"}}))}));
        let found = |written: Value| contradiction(&written, &own);
        assert_eq!(
            found(json!({"type": "array"})).unwrap(),
            "field . is array where it is written, and object where it is read"
        );
        let cents = |cents: Value| order(json!({"price": order(json!({"cents": cents}))}));
        assert_eq!(
            found(cents(json!({"type": ["string", "null"]}))).unwrap(),
            "field price.cents is null or string where it is written, and integer where it is read"
        );
        for maybe in [
            json!({"type": "number"}),
            json!({"type": ["string", "integer"]}),
            json!({}),
            json!({"type": 7}),
            json!({"type": []}),
        ] {
            assert_eq!(found(cents(maybe.clone())), None, "{maybe}");
        }
    }

    #[test]
    fn what_the_newest_schema_does_not_take_is_refused() {
        let own = order(json!({"sku": {"type": "string"}, "cents": {"type": "integer"}}));
        let found = |newest: Value| refusal(&own, &newest);
        let refused = |path: &str, reason: &str| Some((path.to_owned(), reason.to_owned()));
        let with = |name: &str, value: Value| {
            let mut newest = own.clone();
            newest[name] = value;
            newest
        };
        assert_eq!(found(json!({"type": "array"})), refused(".", "object would be written as array"));
        assert_eq!(
            found(order(json!({"cents": {"type": "string"}}))),
            refused("cents", "integer would be written as string")
        );
        assert_eq!(
            refusal(&order(json!({"cents": {"type": "number"}})), &own),
            refused("cents", "integer or number would be written as integer")
        );
        let mut closed = order(json!({"sku": {"type": "string"}}));
        assert_eq!(found(closed.clone()), None);
        closed["additionalProperties"] = json!(false);
        assert_eq!(found(closed), refused(".", "that takes no field cents"));
        assert_eq!(found(with("required", json!(["sku", "at"]))), refused(".", "that requires a field at"));
        for taken in [
            with("required", json!(["sku"])),
            with("additionalProperties", json!(false)),
            json!({}),
            json!(true),
        ] {
            assert_eq!(found(taken.clone()), None, "{taken}");
        }
        assert_eq!(found(order(json!({"cents": {"type": ["number", "null"]}}))), None);
    }
}
