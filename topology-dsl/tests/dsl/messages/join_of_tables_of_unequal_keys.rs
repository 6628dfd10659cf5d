//! Orders have numbers, customers have names: rows are paired by equal keys, or by a key in the value.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let customers = builder.table::<String, String>("customers");
    let orders = builder.table::<u64, String>("orders");
    orders.join(&customers, |order, customer| format!("{order} {customer}"));
}
