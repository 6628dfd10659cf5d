//! An application to kill: counts the records of each key in each second of event time, and writes the count once the second is over.
//!
//! Arguments: bootstrap servers, application id, input topic, output topic, state directory. The environment may say more, as
//! [`Settings::from_env`] reads it, such as `MILLSTREAM_PROCESSING_GUARANTEE`. Prints `state NAME` at each change of state. Ends on SIGINT.

use anyhow::Result;
use millstream::prelude::*;
use millstream_integration_tests::worker;

const PER_SECOND: WindowStoreName<String, u64> = WindowStoreName::new("per-second");

fn main() -> Result<()> {
    let [bootstrap_servers, application_id, input, output, state_dir] = worker::arguments()?;
    let builder = StreamsBuilder::new();
    let seconds = TimeWindows::of_size_with_no_grace(seconds(1));
    let records = builder.stream::<String, String>(input).group_by_key().windowed_by(seconds);
    let counts = records.emit_strategy(EmitStrategy::on_window_close()).count(PER_SECOND);
    counts.to_stream().to(output);
    worker::run(&application_id, builder.build()?, worker::settings(&bootstrap_servers, &state_dir)?)
}
