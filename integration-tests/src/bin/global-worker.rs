//! An application with a global table to kill: joins orders with products, tells in lines what happens to it, and serves HTTP.
//!
//! Arguments: bootstrap servers, application id, topic of orders (values are skus), topic of products (by sku), output topic, state directory.
//! Prints `http ADDRESS`, `state NAME` at each change of state, and `restored STORE from X to Y records N` for each store that had something
//! to read. Ends on SIGINT.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::prelude::*;
use millstream::runtime::RestoreProgress;
use millstream::{ClientState, Streams};

const PRODUCTS: StoreName<String, String> = StoreName::new("products");

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap_servers, application_id, orders, products, output, state_dir] = arguments.as_slice()
    else {
        bail!("six arguments are needed; the head of this program's source names them");
    };
    let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS".to_owned(), bootstrap_servers.clone());
    let mut settings = Settings::from_variables(std::env::vars().chain([brokers]))?;
    settings.state_dir = PathBuf::from(state_dir);
    settings.session_timeout = Duration::from_secs(6);
    settings.num_stream_threads = 2;
    settings.commit_interval = Some(Duration::from_millis(100));
    settings.checkpoint_interval = Duration::from_millis(500);
    settings.http_address = Some("127.0.0.1:0".to_owned());

    let app = Streams::builder(application_id.as_str(), topology(orders, products, output)?)
        .settings(settings)
        .on_state_change(|_before, now: ClientState| say(&format!("state {now}")))
        .on_restore(|progress: &RestoreProgress| {
            if progress.is_complete() {
                let RestoreProgress { store, from, end, records, .. } = progress;
                say(&format!("restored {store} from {from} to {end} records {records}"));
            }
        })
        .start()?;
    say(&format!("http {}", app.http_address().context("it serves HTTP")?));
    app.run_until_signal().context("the application ended with an error")
}

fn topology(orders: &str, products: &str, output: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let products = builder.global_table::<String, String>(products, PRODUCTS);
    let orders = builder.stream::<String, String>(orders);
    let named = orders.on(|_, sku| sku.clone()).left_join(&products, |sku, name| match name {
        Some(name) => format!("{sku} is {name}"),
        None => format!("{sku} is unknown"),
    });
    named.to(output);
    builder.build().context("the program is wrong")
}

/// A line on stdout, whole even when several threads talk. Who reads it may be gone; that is no reason to end.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, line, "nobody hears this line");
    }
}
