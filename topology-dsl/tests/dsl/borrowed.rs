//! Values that are read without being copied: a source whose serde makes something of what borrows from the message.

use std::sync::Arc;

use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::testing::TopologyTestDriver;
use millstream::{Borrowed, JsonSerde, OptionSerde, SerdeRef};
use serde::Deserialize;

#[derive(Deserialize)]
struct Bid<'message> {
    channel: &'message str,
    #[serde(borrow)]
    items: Vec<Item<'message>>,
}

#[derive(Deserialize)]
struct Item<'message> {
    sku: &'message str,
    price: i64,
}

impl Borrowed for Bid<'_> {
    type As<'message> = Bid<'message>;
}

/// The sum of the prices of apples.
fn prices() -> SerdeRef<i64> {
    JsonSerde::<Bid>::new().reading(|bid| {
        let of_apples = bid.items.iter().filter(|item| item.sku == "apples" && bid.channel == "web");
        of_apples.map(|item| item.price).sum()
    })
}

fn driver(reaction: Reaction) -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    let bids = Source::topic("bids").with_value_serde(Arc::new(OptionSerde::new(prices())));
    let sums = builder.stream::<String, Option<i64>>(bids).map_values(|_, price| price.unwrap_or(-1));
    sums.group_by_key().reduce((), |sum, price| sum + price).to_stream().to("sums");
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(reaction);
    settings.dead_letter_topic = Some("dead-letters".to_owned());
    let topology = builder.build().expect("the program is right");
    TopologyTestDriver::builder(topology).settings(settings).build().expect("the topology can be run")
}

const BROKEN: &str = r#"{"channel":"web","items":[{"sku":"apples","price":"high"}]}"#;

#[test]
fn what_borrows_from_a_message_becomes_a_value_of_the_stream() {
    let driver = driver(Reaction::Fail);
    let bids = driver.input_topic::<String, Option<String>>("bids");
    let bid = r#"{"channel":"web","items":[{"sku":"apples","price":3},{"sku":"pears","price":4},{"sku":"apples","price":5}]}"#;
    bids.pipe_input("ann", Some(bid.to_owned())).unwrap();
    bids.pipe_input("ann", None).unwrap();
    let sums = driver.output_topic::<String, i64>("sums");
    assert_eq!(sums.read_key_values_to_list().unwrap(), [("ann".to_owned(), 8), ("ann".to_owned(), 7)]);
}

#[test]
fn an_error_says_which_record_and_which_field() {
    let driver = driver(Reaction::Fail);
    let bids = driver.input_topic::<String, Option<String>>("bids");
    bids.pipe_input("ann", None).unwrap();
    let error = bids.pipe_input("ann", Some(BROKEN.to_owned())).unwrap_err().to_string();
    for said in ["bids-0@1", "::Bid", "(field items[0].price)"] {
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_kept_as_it_was() {
    let driver = driver(Reaction::DeadLetter);
    driver.input_topic::<String, Option<String>>("bids").pipe_input("ann", Some(BROKEN.to_owned())).unwrap();
    let kept = driver.output_topic::<String, String>("dead-letters");
    assert_eq!(kept.read_key_value().unwrap(), Some(("ann".to_owned(), BROKEN.to_owned())));
}

#[test]
fn a_table_keeps_what_was_made() {
    let builder = StreamsBuilder::new();
    let bids = Source::topic("bids").with_value_serde(Arc::new(OptionSerde::new(prices())));
    builder.table::<String, i64>(bids).materialized(PRICES);
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let bids = driver.input_topic::<String, Option<String>>("bids");
    let bid = r#"{"channel":"web","items":[{"sku":"apples","price":3}]}"#;
    bids.pipe_input("ann", Some(bid.to_owned())).unwrap();
    let kept = driver.key_value_store(PRICES).unwrap();
    assert_eq!(kept.get(&"ann".to_owned()).unwrap().map(|row| row.value), Some(3));
}

const PRICES: StoreName<String, i64> = StoreName::new("prices");
