//! Five minutes can be cut in more than one way.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, i64>("orders").group_by_key();
    orders.windowed_by(minutes(5)).count(());
}
