//! A table whose changelog is its topic (`reuse_ktable_source_topics`): it is restored up to where its task begins to read, by an instance that
//! has nothing, and by the standby of another one.

use std::fs;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::runtime::RestoreProgress;
use millstream::{ClientState, ErrorKind};
use millstream_integration_tests::kafka::{NewRecord, unique_name};
use millstream_integration_tests::wait::await_until;

use crate::in_process::{DEADLINE, Scene, running};

const PRODUCTS: StoreName<String, String> = StoreName::new("products");

/// A scene with a compacted topic of products, of which the orders of the input get the names.
struct Shop {
    scene: Scene,
    products: String,
}

/// What was restored of a store, each time it was told.
type Told = Arc<Mutex<Vec<RestoreProgress>>>;

impl Shop {
    fn new(subject: &str) -> Result<Self> {
        let shop = Shop { scene: Scene::new(subject, 2)?, products: unique_name("products") };
        shop.scene.kafka.create_topic(&shop.products, 2, &[("cleanup.policy", "compact")])?;
        Ok(shop)
    }

    fn topology(&self) -> Result<Topology> {
        let builder = StreamsBuilder::new().optimized(TopologyOptimization::ALL);
        let products = builder.table::<String, String>(self.products.as_str()).materialized(PRODUCTS);
        let orders = builder.stream::<String, String>(self.scene.input.as_str());
        orders.join(&products, |_, product| product.clone()).to(self.scene.output.as_str());
        Ok(builder.build()?)
    }

    fn write(&self, numbers: std::ops::Range<u32>, suffix: &str) -> Result<()> {
        let record = |number| NewRecord::new(format!("sku-{number}"), format!("product {number}{suffix}"));
        self.scene.kafka.produce(&self.products, numbers.map(record))
    }

    /// Starts an instance and waits until it runs.
    fn run(&self, settings: Settings) -> Result<(Streams, Told)> {
        let told = Told::default();
        let listener = Arc::clone(&told);
        let app = self.scene.app(self.topology()?, settings).on_restore(move |progress| {
            listener.lock().expect("no listener panics").push(progress.clone());
        });
        Ok((running(app)?, told))
    }

    fn await_product(&self, app: &Streams, number: u32, expected: &str) -> Result<()> {
        let (store, key) = (app.store(PRODUCTS)?, format!("sku-{number}"));
        await_until(DEADLINE, format!("{key} to be {expected}"), || {
            store.get(&key).ok()?.filter(|product| product == expected).map(|_| ())
        })
    }
}

/// Of all restores that were told of, how many records they had, and up to which offset they went, all partitions together.
fn restored(told: &Told) -> Result<(u64, i64)> {
    let told = told.lock().ok().context("no listener panics")?;
    let complete = told.iter().filter(|progress| progress.is_complete());
    Ok(complete
        .fold((0, 0), |(records, end), progress| (records + progress.records, end + progress.end.get())))
}

#[test]
fn an_instance_without_state_restores_what_was_processed_and_processes_the_rest() -> Result<()> {
    let shop = Shop::new("table-from-topic")?;
    shop.write(0..20, "")?;
    let (app, _) = shop.run(shop.scene.settings())?;
    shop.scene.await_committed(&[&shop.products])?;
    app.close()?;
    fs::remove_dir_all(shop.scene.state_dir.path().join(&shop.scene.application_id))?;
    shop.write(0..1, ", new")?;

    let (app, told) = shop.run(shop.scene.settings())?;
    shop.await_product(&app, 0, "product 0, new")?;
    assert_eq!(restored(&told)?, (20, 20), "the record that came last is processed");
    let rows = app.store(PRODUCTS)?.all()?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(rows.len(), 20);
    shop.scene.write([("sku-7".to_string(), "order".to_string())])?;
    await_until(DEADLINE, "the order", || {
        let written = shop.scene.kafka.read_all(&shop.scene.output).ok()?;
        written.iter().any(|record| record.value.as_deref() == Some(b"product 7".as_slice())).then_some(())
    })?;
    app.close()?;

    let (app, told) = shop.run(shop.scene.settings())?;
    assert_eq!(restored(&told)?, (0, 0), "the state is as far as what was committed");
    app.close()?;
    let changelog = shop.scene.internal("products-changelog");
    ensure!(!shop.scene.kafka.topics()?.contains(&changelog), "{changelog} was made");
    Ok(())
}

#[test]
fn a_record_that_makes_no_row_is_left_out_where_its_handler_passes_over_it_and_nowhere_else() -> Result<()> {
    let shop = Shop::new("table-from-topic-unreadable")?;
    let no_text = NewRecord { partition: Some(1), ..NewRecord::new("sku-0", b"\xff".to_vec()) };
    shop.scene.kafka.produce(&shop.products, [no_text])?;
    shop.write(0..20, "")?;
    let skipping = || Settings { handlers: Handlers::all(Reaction::Skip), ..shop.scene.settings() };
    let lose_state = || fs::remove_dir_all(shop.scene.state_dir.path().join(&shop.scene.application_id));
    let (app, _) = shop.run(skipping())?;
    shop.scene.await_committed(&[&shop.products])?;
    app.close()?;
    lose_state()?;

    let (app, told) = shop.run(skipping())?;
    assert_eq!(restored(&told)?, (20, 21));
    let left_out: u64 = told
        .lock()
        .ok()
        .context("no listener panics")?
        .iter()
        .filter(|progress| progress.is_complete())
        .map(|progress| progress.left_out)
        .sum();
    assert_eq!(left_out, 1);
    app.close()?;
    lose_state()?;

    let app = shop.scene.app(shop.topology()?, shop.scene.settings()).start()?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("the handler fails")?;
    assert_eq!(error.kind(), ErrorKind::Record);
    let text = error.to_string();
    ensure!(text.contains(&format!("{}-1@0", shop.products)) && text.contains("store products"), "{text}");
    Ok(())
}

#[test]
fn a_standby_follows_what_is_committed() -> Result<()> {
    let shop = Shop::new("table-from-topic-standby")?;
    let mut settings = shop.scene.settings();
    settings.num_standby_replicas = 1;
    let elsewhere = tempfile::tempdir()?;
    let others = Settings { state_dir: elsewhere.path().into(), ..settings.clone() };
    shop.write(0..10, "")?;
    let ((app, _), (other, _)) = (shop.run(settings)?, shop.run(others)?);
    shop.write(10..20, "")?;
    shop.scene.await_committed(&[&shop.products])?;
    // Both together have all partitions twice, as soon as the standbys have heard of the last commit.
    let ends: i64 = shop.scene.kafka.end_offsets(&shop.products)?.values().sum();
    let followed = |streams: &Streams| -> i64 {
        let snapshot = streams.state_updater();
        snapshot.standbys.values().flatten().map(|progress| progress.next.get()).sum()
    };
    await_until(DEADLINE, "the standbys", || (followed(&app) + followed(&other) == ends).then_some(()))?;
    app.close()?;
    for number in 0..20 {
        shop.await_product(&other, number, &format!("product {number}"))?;
    }
    other.close()?;
    Ok(())
}
