//! The row of a table is never null: a store cannot hold an `Option`.

use millstream::prelude::*;

const LATEST: StoreName<String, Option<String>> = StoreName::new("latest");

fn main() {
    let builder = StreamsBuilder::new();
    builder.table::<String, Option<String>>("products").materialized(LATEST);
}
