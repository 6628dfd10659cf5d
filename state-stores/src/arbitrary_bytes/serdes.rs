//! The serdes of types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CASES, Form, check, check_serde, check_texts, config, encoded};
use crate::json_serde;
use crate::serde::{
    Borrowed, HasSerde, JsonSerde, OptionSerde, Serde, SessionWindowedSerde, TimeWindowedSerde, Upcasters,
};
use crate::types::Timestamp;
use crate::window::{Window, Windowed};

#[test]
fn standard_types() {
    check_serde(&*i16::serde(), Form::Canonical, &[-2]);
    check_serde(&*i32::serde(), Form::Canonical, &[-2]);
    check_serde(&*i64::serde(), Form::Canonical, &[-2]);
    check_serde(&*u32::serde(), Form::Canonical, &[7]);
    check_serde(&*u64::serde(), Form::Canonical, &[7]);
    check_serde(&*f32::serde(), Form::Canonical, &[0.5]);
    check_serde(&*f64::serde(), Form::Canonical, &[0.5]);
    check_serde(&*bool::serde(), Form::Canonical, &[false, true]);
    check_serde(&*String::serde(), Form::Canonical, &["Äpfel".to_owned()]);
    check_serde(&*<Vec<u8>>::serde(), Form::Canonical, &[b"apples".to_vec()]);
    check_serde(&*Bytes::serde(), Form::Canonical, &[Bytes::from_static(b"apples")]);
    check_serde(&OptionSerde::new(i64::serde()), Form::Canonical, &[Some(7)]);
    // Digits may be capitals, or have no hyphens between them.
    check_serde(&*Uuid::serde(), Form::Free, &[Uuid::from_u128(7)]);
}

#[test]
fn keys_of_several_parts() {
    check_serde(&*<(String, i64)>::serde(), Form::Canonical, &[("a\0b".to_owned(), -7), (String::new(), 0)]);
    check_serde(
        &*<(bool, Option<u32>, Vec<u8>)>::serde(),
        Form::Canonical,
        &[(true, Some(7), b"apples".to_vec()), (false, None, vec![0, 0xff])],
    );
    check_serde(
        &*<(Uuid, Timestamp, u16, (i16, Option<String>))>::serde(),
        Form::Canonical,
        &[(Uuid::from_u128(7), Timestamp::from_millis(-1), 7, (-3, Some("a".to_owned())))],
    );
}

#[test]
fn keys_in_windows() {
    let apples = Windowed::new("apples".to_owned(), Window::new(at(0), at(60_000)));
    let within = TimeWindowedSerde::new(String::serde(), Duration::from_secs(60));
    check_serde(&within, Form::Canonical, std::slice::from_ref(&apples));
    check_serde(&SessionWindowedSerde::new(String::serde()), Form::Canonical, &[apples]);
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn keys_from_text() {
    check_texts(&*i64::serde(), &["-7", "0"]);
    check_texts(&*u64::serde(), &["18446744073709551615"]);
    check_texts(&*f64::serde(), &["0.5", "NaN", "-inf", "1e9"]);
    check_texts(&*bool::serde(), &["true", "false"]);
    check_texts(&*String::serde(), &["Äpfel"]);
    check_texts(&*<Vec<u8>>::serde(), &["00ff", ""]);
    check_texts(&*Uuid::serde(), &["00000000-0000-0000-0000-000000000007"]);
    check_texts(&*<(String, i64)>::serde(), &[r#"["a",-7]"#]);
    check_texts(&*<(bool, Option<u32>, Vec<u8>)>::serde(), &[r#"[true,null,"00ff"]"#]);
    check_texts(&TimeWindowedSerde::new(i64::serde(), Duration::from_secs(60)), &["7@0/60000"]);
    check_texts(&SessionWindowedSerde::new(String::serde()), &["apples@-1/9223372036854775807"]);
    check_texts(&JsonSerde::<Order>::new(), &[r#"{"sku":"a","quantity":3,"notes":{}}"#]);
    check_texts(&JsonSerde::<String>::new(), &["apples", r#""apples""#]);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    sku: String,
    quantity: i64,
    #[serde(default)]
    price: Option<f64>,
    #[serde(default)]
    states: Vec<State>,
    notes: BTreeMap<String, serde_json::Value>,
}
json_serde!(Order);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    Paid(u32),
    Sent { to: Box<Order> },
}

fn orders() -> Vec<Order> {
    let open = Order { sku: "apples".into(), quantity: 3, ..Order::default() };
    let notes = BTreeMap::from([("a".to_owned(), serde_json::json!([1, { "b": null }]))]);
    let states = vec![State::Open, State::Paid(7), State::Sent { to: Box::new(open.clone()) }];
    vec![Order { price: Some(0.5), states, notes, ..open.clone() }, open]
}

#[test]
fn json() {
    check_serde(&*Order::serde(), Form::Free, &orders());
    check_serde(
        &JsonSerde::<serde_json::Value>::new(),
        Form::Free,
        &[serde_json::json!({"a": [1, "b", {}]})],
    );
}

/// State that is read back must be what it was, to the last bit.
#[test]
fn floats_in_json() {
    let serde = JsonSerde::<f64>::new();
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let numbers = NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE;
    let outcome = TestRunner::new(config(CASES)).run(&numbers, |number| {
        let again = serde.decode(&encoded(&serde, &number)).unwrap();
        prop_assert_eq!(again.to_bits(), number.to_bits());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[derive(Deserialize)]
struct OrderView<'a> {
    sku: &'a str,
    #[serde(borrow, default)]
    states: Vec<StateView<'a>>,
}

#[derive(Deserialize)]
enum StateView<'a> {
    Open,
    Note(&'a str),
}

impl Borrowed for OrderView<'_> {
    type As<'message> = OrderView<'message>;
}

/// The same text, owned.
#[derive(Serialize, Deserialize)]
struct Sku {
    sku: String,
}

#[test]
fn json_that_is_borrowed() {
    let written = br#"{"sku":"apples","states":[{"Note":"a"},"Open"],"more":[{}]}"#.to_vec();
    let read = JsonSerde::<OrderView>::new().reading(|order| {
        let notes = order.states.iter().map(|state| match state {
            StateView::Open => "open",
            StateView::Note(note) => note,
        });
        std::iter::once(order.sku).chain(notes).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(read.decode(&written).unwrap(), ["apples", "a", "open"]);
    check(vec![written], Form::Canonical, |bytes| {
        let texts = read.decode(bytes).ok()?;
        let owned = JsonSerde::<Sku>::new().decode(bytes).expect("what is borrowed can be owned");
        assert_eq!(Some(&owned.sku), texts.first());
        Some(bytes.to_vec())
    });
}

#[test]
fn values_of_older_versions() {
    let upcasters = || {
        Upcasters::oldest(String::serde())
            .try_then(i64::serde(), |text| text.parse::<i64>())
            .then(Order::serde(), |quantity| Order { quantity, ..Order::default() })
    };
    check_serde(&*upcasters().numbered(), Form::Free, &orders());
    check_serde(&*upcasters().numbered_in("version"), Form::Free, &orders());
    // Of the first version, as it was before there was another.
    let numbered = upcasters().numbered();
    check(vec![encoded(&*numbered, &numbered.decode(b"42").unwrap())], Form::Free, |bytes| {
        Some(encoded(&*numbered, &numbered.decode(bytes).ok()?))
    });
    let nested = Upcasters::oldest(Arc::new(OptionSerde::new(String::serde()))).numbered();
    check_serde(&*nested, Form::Free, &[Some("apples".to_owned())]);
}
