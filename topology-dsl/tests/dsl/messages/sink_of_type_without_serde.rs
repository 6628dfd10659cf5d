//! A type that comes up on the way and does not say how it is written to Kafka.

use millstream::prelude::*;

#[derive(Clone)]
struct Priced {
    _cents: i64,
}

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, i64>("orders");
    orders.map_values(|_sku, quantity| Priced { _cents: quantity * 30 }).to("priced-orders");
}
