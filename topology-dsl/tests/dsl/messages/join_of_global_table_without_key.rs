//! A global table is joined by a key of the stream's choice, which has to be chosen.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let products = builder.global_table::<String, String>("products", ());
    let orders = builder.stream::<String, i64>("orders");
    orders.join(&products, |quantity, product| format!("{quantity} {product}"));
}
