//! The program on the test driver.

use millstream::handlers::{Handlers, Reaction};
use millstream::testing::{TestInputTopic, TestOutputTopic, TopologyTestDriver};
use millstream::{Result, Settings};

use super::{DEMAND, RESERVATIONS, STATUS, STOCK, Views, topology};
use crate::order_inventory::events::{Availability, Order, OrderEvent, OrderState, StockMoved};
use crate::order_inventory::topics::Topics;

struct Shop {
    driver: TopologyTestDriver,
    orders: TestInputTopic<String, OrderEvent>,
    movements: TestInputTopic<String, StockMoved>,
    answers: TestOutputTopic<String, Availability>,
}

impl Shop {
    fn open() -> Result<Self> {
        let topics = Topics::with_prefix("");
        let mut settings = Settings::new("none");
        settings.handlers = Handlers::all(Reaction::DeadLetter);
        let driver = TopologyTestDriver::builder(topology(&topics, Views { demand: true })?)
            .settings(settings)
            .build()?;
        Ok(Shop {
            orders: driver.input_topic(&topics.orders),
            movements: driver.input_topic(&topics.stock_movements),
            answers: driver.output_topic(&topics.order_availability),
            driver,
        })
    }

    /// Does what a line such as `deliver 10`, `order a 3`, `ship a 3` or `cancel a 3` says, with apples.
    fn act(&self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["deliver", quantity] => self.moved(quantity.parse().unwrap(), None),
            ["ship", order_id, quantity] => self.moved(-quantity.parse::<i64>().unwrap(), Some(order_id)),
            ["order", order_id, quantity] => {
                self.orders.pipe_input(order_id, OrderEvent::Placed(order(order_id, quantity)))
            }
            ["cancel", order_id, quantity] => {
                self.orders.pipe_input(order_id, OrderEvent::Cancelled(order(order_id, quantity)))
            }
            _ => panic!("no such line: {line}"),
        }
    }

    fn moved(&self, quantity: i64, order_id: Option<&str>) -> Result<()> {
        let order_id = order_id.map(str::to_string);
        self.movements.pipe_input("apples", StockMoved { sku: "apples".into(), quantity, order_id })
    }

    /// Answers given since the last call, as `a yes` or `a no`.
    fn answered(&self) -> Result<Vec<String>> {
        let answers = self.answers.read_key_values_to_list()?;
        let text = |answer: bool| if answer { "yes" } else { "no" };
        Ok(answers.iter().map(|(order_id, answer)| format!("{order_id} {}", text(answer.promised))).collect())
    }

    /// Apples on hand and reserved.
    fn apples(&self) -> Result<(i64, i64)> {
        let apples = "apples".to_string();
        let on_hand = self.driver.key_value_store(STOCK)?.get(&apples)?.map_or(0, |row| row.value);
        let reserved =
            self.driver.key_value_store(RESERVATIONS)?.get(&apples)?.map_or(0, |row| row.value.reserved);
        Ok((on_hand, reserved))
    }

    fn state_of(&self, order_id: &str) -> Result<Option<OrderState>> {
        let row = self.driver.key_value_store(STATUS)?.get(&order_id.to_string())?;
        Ok(row.map(|row| row.value.state))
    }
}

fn order(order_id: &str, quantity: &str) -> Order {
    Order {
        order_id: order_id.into(),
        sku: "apples".into(),
        quantity: quantity.parse().unwrap(),
        customer: "ada".into(),
    }
}

#[test]
fn the_same_apple_is_not_promised_twice() -> Result<()> {
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], (i64, i64));
    let cases: [Case; 8] = [
        ("nothing there", &["order a 1"], &["a no"], (0, 0)),
        ("just enough", &["deliver 3", "order a 3"], &["a yes"], (3, 3)),
        ("one too few", &["deliver 3", "order a 4"], &["a no"], (3, 0)),
        ("all is promised", &["deliver 3", "order a 3", "order b 1"], &["a yes", "b no"], (3, 3)),
        ("a refusal reserves nothing", &["deliver 3", "order a 4", "order b 3"], &["a no", "b yes"], (3, 3)),
        (
            "shipped goods are gone",
            &["deliver 3", "order a 2", "ship a 2", "order b 2", "order c 1"],
            &["a yes", "b no", "c yes"],
            (1, 1),
        ),
        (
            "cancelled goods are free",
            &["deliver 3", "order a 3", "cancel a 3", "order b 3"],
            &["a yes", "b yes"],
            (3, 3),
        ),
        ("a delivery helps the next", &["order a 1", "deliver 1", "order b 1"], &["a no", "b yes"], (1, 1)),
    ];
    for (name, lines, answers, apples) in cases {
        let shop = Shop::open()?;
        for line in lines {
            shop.act(line)?;
        }
        assert_eq!(shop.answered()?, answers, "{name}");
        assert_eq!(shop.apples()?, apples, "{name}: on hand and reserved");
    }
    Ok(())
}

#[test]
fn an_answer_has_the_figures_it_follows_from() -> Result<()> {
    let shop = Shop::open()?;
    for line in ["deliver 10", "order a 4", "order b 7"] {
        shop.act(line)?;
    }
    let answers = shop.answers.read_key_values_to_list()?;
    let figures: Vec<_> =
        answers.iter().map(|(_, answer)| (answer.on_hand, answer.reserved, answer.quantity)).collect();
    assert_eq!(figures, [(10, 0, 4), (10, 4, 7)]);
    Ok(())
}

#[test]
fn the_status_follows_the_order() -> Result<()> {
    let shop = Shop::open()?;
    let steps = [
        ("deliver 3", "a", None),
        ("order a 2", "a", Some(OrderState::Promised)),
        ("order b 2", "b", Some(OrderState::Refused)),
        ("ship a 2", "a", Some(OrderState::Shipped)),
        ("order c 1", "c", Some(OrderState::Promised)),
        ("cancel c 1", "c", Some(OrderState::Cancelled)),
    ];
    for (line, order_id, state) in steps {
        shop.act(line)?;
        assert_eq!(shop.state_of(order_id)?, state, "after `{line}`");
    }
    Ok(())
}

#[test]
fn what_was_asked_for_counts_whether_or_not_it_was_promised() -> Result<()> {
    let shop = Shop::open()?;
    for line in ["deliver 3", "order a 2", "order b 2", "cancel a 2"] {
        shop.act(line)?;
    }
    let demand = shop.driver.key_value_store(DEMAND)?.get(&"apples".to_string())?;
    assert_eq!(demand.map(|row| row.value), Some(4));
    Ok(())
}

#[test]
fn a_record_that_cannot_be_read_is_kept_and_the_rest_goes_on() -> Result<()> {
    let shop = Shop::open()?;
    shop.act("deliver 3")?;
    shop.orders.pipe_raw(Some(b"a"), Some(b"no JSON"))?;
    shop.movements.pipe_raw(Some(b"apples"), None)?;
    shop.act("order b 3")?;
    assert_eq!(shop.answered()?, ["b yes"]);
    assert_eq!(shop.driver.output_topic::<String, Option<String>>("test-dead-letters").len(), 2);
    Ok(())
}

/// Names of topics and stores last as long as their data: a change here needs a reset of running applications.
#[test]
fn the_program_reads_and_writes_what_it_always_did() -> Result<()> {
    let topology = topology(&Topics::with_prefix("test-"), Views::default())?;
    insta::assert_snapshot!(topology.describe());
    Ok(())
}
