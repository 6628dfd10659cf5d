//! Counts are `u64`, and the constant says `i64`.

use millstream::prelude::*;

const COUNTS: StoreName<String, i64> = StoreName::new("counts");

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("orders").group_by_key().count(COUNTS);
}
