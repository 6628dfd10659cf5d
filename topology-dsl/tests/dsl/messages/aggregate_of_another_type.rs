//! The row is a number, and the closure makes text of it.

use millstream::prelude::*;

const STOCK: StoreName<String, i64> = StoreName::new("stock");

fn main() {
    let builder = StreamsBuilder::new();
    let moves = builder.stream::<String, i64>("stock-movements").group_by_key();
    moves.aggregate(STOCK, || 0, |_sku, moved, on_hand| format!("{}", moved + on_hand));
}
