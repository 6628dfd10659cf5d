//! Two streams have no rows that could be looked up: they are joined within a span of time.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let payments = builder.stream::<String, i64>("payments");
    let orders = builder.stream::<String, i64>("orders");
    orders.join(&payments, |order, paid| order - paid);
}
