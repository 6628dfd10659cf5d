//! Orders have numbers, products have SKUs: the keys of a join must be of one type.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let products = builder.table::<String, String>("products");
    let orders = builder.stream::<u64, i64>("orders");
    orders.join(&products, |quantity, product| format!("{quantity} {product}"));
}
