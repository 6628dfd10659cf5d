//! A window has one result when it is closed, and none before, however many windows wait.

use millstream::prelude::*;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("orders").group_by_key();
    let per_minute = orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1))).count(());
    per_minute.suppress(Suppressed::until_window_closes(BufferConfig::max_records(1_000)));
}
