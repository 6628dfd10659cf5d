//! The branches of a union, each as a schema of its own: one that says itself what all of its names mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::shape::{full_name, last_part, namespace};

type Object = Map<String, Value>;

/// The branches of a schema that is a union; none of any other.
pub(super) fn branches_alone(schema: &str) -> Vec<String> {
    let Ok(Value::Array(branches)) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    let mut alone = Alone { known: BTreeMap::new(), said: BTreeSet::new() };
    let text = |branch| {
        alone.said.clear();
        alone.schema(branch, "").to_string()
    };
    branches.iter().map(text).collect()
}

/// One branch while it is written.
struct Alone<'s> {
    /// The types with names that were met, in this branch and those before it, and the namespace around each.
    known: BTreeMap<String, (&'s Object, String)>,
    /// Those whose meaning this branch has said.
    said: BTreeSet<String>,
}

impl<'s> Alone<'s> {
    fn schema(&mut self, json: &'s Value, namespace: &str) -> Value {
        match json {
            Value::String(name) => match self.known.get(&full_name(name, namespace)).cloned() {
                Some((object, around)) => self.object(object, &around),
                None => json.clone(),
            },
            Value::Array(branches) => branches.iter().map(|branch| self.schema(branch, namespace)).collect(),
            Value::Object(object) => self.object(object, namespace),
            other => other.clone(),
        }
    }

    fn object(&mut self, object: &'s Object, around: &str) -> Value {
        let mut alone = object.clone();
        match object.get("type").and_then(Value::as_str) {
            Some("array") => self.part("items", object, around, &mut alone),
            Some("map") => self.part("values", object, around, &mut alone),
            Some("record" | "enum" | "fixed") => return self.named(object, around),
            _ => self.part("type", object, around, &mut alone),
        }
        alone.into()
    }

    /// A type with a name: in full, or, if this branch has said that already, its name.
    fn named(&mut self, object: &'s Object, around: &str) -> Value {
        let own_namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(around);
        let full = full_name(object.get("name").and_then(Value::as_str).unwrap_or_default(), own_namespace);
        self.known.insert(full.clone(), (object, around.to_owned()));
        if !self.said.insert(full.clone()) {
            return full.into();
        }
        let mut alone = object.clone();
        // It may stand within another namespace here than there.
        alone.insert("name".to_owned(), last_part(&full).into());
        alone.insert("namespace".to_owned(), namespace(&full).into());
        if let Some(Value::Array(fields)) = object.get("fields") {
            let fields: Value = fields.iter().map(|field| self.field(field, namespace(&full))).collect();
            alone.insert("fields".to_owned(), fields);
        }
        alone.into()
    }

    /// Writes the type that an object has under this name.
    fn part(&mut self, name: &str, object: &'s Object, namespace: &str, alone: &mut Object) {
        if let Some(json) = object.get(name) {
            alone.insert(name.to_owned(), self.schema(json, namespace));
        }
    }

    fn field(&mut self, field: &'s Value, namespace: &str) -> Value {
        let Value::Object(field) = field else { return field.clone() };
        let mut alone = field.clone();
        self.part("type", field, namespace, &mut alone);
        alone.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::*;

    #[test]
    fn each_branch_says_what_its_names_mean() {
        let union = r#"[
            {"type": "record", "name": "Placed", "namespace": "shop", "doc": "one", "fields": [
                {"name": "price", "type": {"type": "record", "name": "Money", "namespace": "bank", "fields": [
                    {"name": "cents", "type": {"type": "long", "logicalType": "x"}, "default": 7},
                    {"name": "unit", "type": {"type": "enum", "name": "Unit", "symbols": ["EUR", "USD"]}}]}},
                {"name": "rebate", "type": ["null", "bank.Money"], "default": null}]},
            {"type": "record", "name": "shop.Paid", "fields": [
                {"name": "units", "type": {"type": "map", "values": "bank.Unit"}},
                {"name": "parts", "type": {"type": "array", "items": "bank.Money"}},
                {"name": "of", "type": ["null", "Placed"]}]},
            {"type": "record", "name": "Closed", "fields": []},
            {"type": "enum", "name": "shop.State", "symbols": ["A"]},
            "string"
        ]"#;
        let Ok(Shape::Union(branches)) = Shape::parse(union) else { panic!("it is a union") };
        let alone = branches_alone(union);
        assert_eq!(alone.len(), branches.len());
        for (branch, text) in branches.iter().zip(&alone) {
            let shape = Shape::parse(text).unwrap_or_else(|reason| panic!("{reason}: {text}"));
            assert!(shape.says_the_same(branch), "{text}");
        }
        assert!(alone[0].contains(r#""doc":"one""#) && alone[0].contains(r#""default":7"#), "{}", alone[0]);
        assert_eq!(alone[0].matches("cents").count(), 1, "once in each: {}", alone[0]);
        assert_eq!(alone[1].matches("cents").count(), 1, "once in each: {}", alone[1]);
        assert_eq!(branches_alone("\"string\""), [""; 0]);
    }
}
