//! The program of the design: orders joined with the stock on hand.

use millstream::prelude::*;
use millstream::testing::TopologyTestDriver;
use serde::{Deserialize, Serialize};

const STOCK: StoreName<String, i64> = StoreName::new("stock");

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    sku: String,
    quantity: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StockMoved {
    quantity: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Availability {
    wanted: i64,
    on_hand: i64,
}

json_serde!(Order, StockMoved, Availability);

impl Availability {
    fn of(order: Order, on_hand: i64) -> Self {
        Availability { wanted: order.quantity, on_hand }
    }
}

fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, Order>("orders");
    let stock = builder.stream::<String, StockMoved>("stock-movements").group_by_key().aggregate(
        STOCK,
        || 0,
        |_sku, moved, on_hand| on_hand + moved.quantity,
    );

    orders
        .select_key(|_, order| order.sku.clone())
        .left_join(&stock, |order, on_hand| Availability::of(order, on_hand.copied().unwrap_or(0)))
        .to("order-availability");
    builder.build()
}

#[test]
fn orders_learn_what_is_on_hand() -> Result<()> {
    let driver = TopologyTestDriver::new(topology()?)?;
    let movements = driver.input_topic::<String, StockMoved>("stock-movements");
    let orders = driver.input_topic::<String, Order>("orders");
    movements.pipe_input("apples", StockMoved { quantity: 10 })?;
    movements.pipe_input("apples", StockMoved { quantity: -3 })?;
    orders.pipe_input("order-1", Order { sku: "apples".into(), quantity: 5 })?;
    orders.pipe_input("order-2", Order { sku: "pears".into(), quantity: 1 })?;

    let availability = driver.output_topic::<String, Availability>("order-availability");
    assert_eq!(
        availability.read_key_values_to_list()?,
        [
            ("apples".into(), Availability { wanted: 5, on_hand: 7 }),
            ("pears".into(), Availability { wanted: 1, on_hand: 0 }),
        ]
    );
    let row = driver.key_value_store(STOCK)?.get(&"apples".into())?;
    assert_eq!(row.map(|row| row.value), Some(7));
    Ok(())
}
