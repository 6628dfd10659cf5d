//! A type that does not say how it is written to Kafka.

use millstream::prelude::*;

#[derive(Clone)]
struct Order {
    _quantity: i64,
}

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, Order>("orders").to("archive");
}
