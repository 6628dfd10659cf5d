//! Text that may be no number: the closure returns a `Result`.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders");
    orders.map_values(|_sku, quantity| quantity.parse::<i64>()).to("quantities");
}
