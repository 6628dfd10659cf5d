//! Runs the Kafka of the tests by hand: prints where it listens and keeps its data, as a line of JSON, and ends it when
//! stdin ends (Ctrl-D) or the program is killed.

use std::io::Write;

use millstream_integration_tests::kafka::RealKafka;

fn main() -> anyhow::Result<()> {
    let kafka = RealKafka::start()?;
    let facts =
        serde_json::json!({ "bootstrap_servers": kafka.bootstrap_servers(), "folder": kafka.folder() });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{facts}")?;
    stdout.flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
