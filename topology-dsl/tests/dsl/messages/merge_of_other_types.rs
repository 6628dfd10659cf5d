//! Orders are numbers, returns are text: the records of one stream are of one type.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let returns = builder.stream::<String, String>("returns");
    let orders = builder.stream::<String, i64>("orders");
    orders.merge(&returns).to("movements");
}
