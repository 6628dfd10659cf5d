//! An application with a global table to kill: joins orders with products, tells in lines what happens to it, and serves HTTP.
//!
//! Arguments: bootstrap servers, application id, topic of orders (values are skus), topic of products (by sku), output topic, state directory.
//! Prints `http ADDRESS`, `state NAME` at each change of state, and `restored STORE from X to Y records N` for each store that had something
//! to read. Ends on SIGINT.

use std::time::Duration;

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream::runtime::RestoreProgress;
use millstream::{ClientState, Streams};
use millstream_integration_tests::worker::{self, say};

const PRODUCTS: StoreName<String, String> = StoreName::new("products");

fn main() -> Result<()> {
    let [bootstrap_servers, application_id, orders, products, output, state_dir] = worker::arguments()?;
    let mut settings = worker::settings(&bootstrap_servers, &state_dir)?;
    settings.num_stream_threads = 2;
    settings.commit_interval = Some(Duration::from_millis(100));
    settings.checkpoint_interval = Duration::from_millis(500);
    settings.http_address = Some("127.0.0.1:0".to_owned());

    let app = Streams::builder(application_id.as_str(), topology(&orders, &products, &output)?)
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
