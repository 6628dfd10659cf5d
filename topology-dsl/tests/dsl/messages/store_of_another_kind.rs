//! Counts per minute are kept in a store of windows, and the constant names one without.

use millstream::prelude::*;

const PER_MINUTE: StoreName<String, u64> = StoreName::new("per-minute");

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders").group_by_key();
    orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1))).count(PER_MINUTE);
}
