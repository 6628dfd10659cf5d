//! The store has text as keys, and is asked for a number.

use millstream::prelude::*;

const STOCK: StoreName<String, i64> = StoreName::new("stock");

fn on_hand(application: &Streams) -> Option<i64> {
    application.store(STOCK).ok()?.get(&7_u64).ok()?
}

fn main() {
    let _ = on_hand;
}
