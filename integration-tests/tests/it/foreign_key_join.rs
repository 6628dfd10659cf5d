//! Foreign-key joins on a cluster: requests and answers find the right task though the tables have different partition counts, and the
//! subscriptions come back from their changelog when the disk is lost.

use std::collections::BTreeMap;

use anyhow::Result;
use millstream::prelude::*;
use millstream_integration_tests::kafka::{NewRecord, unique_name};
use millstream_integration_tests::wait::await_until;

use crate::in_process::{DEADLINE, Scene};

const ORDERS: usize = 300;
const CUSTOMERS: usize = 20;

fn customer_of(order: usize) -> String {
    format!("customer-{}", order % CUSTOMERS)
}

/// Orders, which are the input and have three partitions, with the cities of their customers, which have five.
fn orders_with_cities(scene: &Scene, customers: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let orders = builder.table::<String, String>(scene.input.as_str());
    let customers = builder.table::<String, String>(customers);
    let of_customers = orders
        .on(|_, customer| customer.clone())
        .join(&customers, |customer, city| format!("{customer} in {city}"));
    of_customers.named("of-customers").to_stream().to(scene.output.as_str());
    Ok(builder.build()?)
}

/// Moves all customers to a city.
fn move_to(scene: &Scene, customers: &str, city: &str) -> Result<()> {
    let moved =
        (0..CUSTOMERS).map(|customer| NewRecord::new(format!("customer-{customer}"), city.to_owned()));
    scene.kafka.produce(customers, moved)
}

fn await_orders_in(scene: &Scene, city: &str) -> Result<()> {
    let expected: BTreeMap<String, String> = (0..ORDERS)
        .map(|order| (format!("order-{order}"), format!("{} in {city}", customer_of(order))))
        .collect();
    await_until(DEADLINE, format!("all orders to be in {city}"), || {
        let records = scene.kafka.read_all(&scene.output).ok()?;
        let rows = records.iter().filter_map(|record| Some((record.key_text()?, record.value_text()?)));
        (rows.collect::<BTreeMap<_, _>>() == expected).then_some(())
    })
}

#[test]
fn rows_of_tables_with_different_partition_counts_find_each_other_also_after_the_disk_was_lost() -> Result<()>
{
    let scene = Scene::new("foreign-key", 3)?;
    let customers = unique_name("customers");
    scene.kafka.create_topic(&customers, 5, &[])?;
    move_to(&scene, &customers, "Paris")?;
    scene.write((0..ORDERS).map(|order| (format!("order-{order}"), customer_of(order))))?;

    let app = scene.run(orders_with_cities(&scene, &customers)?)?;
    await_orders_in(&scene, "Paris")?;
    app.close()?;
    std::fs::remove_dir_all(scene.state_dir.path().join(&scene.application_id))?;

    // Only the restored subscriptions say whose rows these changes concern.
    move_to(&scene, &customers, "Rome")?;
    let app = scene.run(orders_with_cities(&scene, &customers)?)?;
    await_orders_in(&scene, "Rome")?;
    app.close()?;
    Ok(())
}
