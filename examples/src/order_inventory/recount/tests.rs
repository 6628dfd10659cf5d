//! A made-up shop on the test driver: the recount agrees with the program's stores, and notices every kind of damage.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;

use millstream::testing::TopologyTestDriver;
use millstream::{Result, StoreName};

use super::{Recount, View};
use crate::order_inventory::events::{Availability, OrderEvent, OrderState, OrderStatus, StockMoved};
use crate::order_inventory::run::Outcome;
use crate::order_inventory::shop::{InputEvent, Shop};
use crate::order_inventory::topics::Topics;
use crate::order_inventory::topology::{DEMAND, RESERVATIONS, STATUS, STOCK, Views, topology};

/// A day in the shop: what a recount says and what the stores say.
fn a_day() -> Result<(Recount, View)> {
    let topics = Topics::with_prefix("");
    let driver = TopologyTestDriver::new(topology(&topics, Views { demand: true })?)?;
    let orders = driver.input_topic::<String, OrderEvent>(&topics.orders);
    let movements = driver.input_topic::<String, StockMoved>(&topics.stock_movements);
    let answers = driver.output_topic::<String, Availability>(&topics.order_availability);
    let (mut shop, mut recount) = (Shop::new(7, "order-"), Recount::default());
    for _event in 0..1000 {
        match shop.next_event() {
            Some(InputEvent::Order(event)) => {
                recount.order_event(&event);
                orders.pipe_input(event.order().order_id.clone(), event)?;
            }
            Some(InputEvent::Stock(moved)) => {
                recount.stock_moved(&moved);
                movements.pipe_input(moved.sku.clone(), moved)?;
            }
            None => {}
        }
        for (_order_id, answer) in answers.read_key_values_to_list()? {
            recount.answer(&answer);
            shop.answered(&answer);
        }
    }
    let view = View {
        stock: rows(&driver, STOCK, recount.skus())?.into_iter().collect(),
        reservations: rows(&driver, RESERVATIONS, recount.skus())?.into_iter().collect(),
        status: rows(&driver, STATUS, recount.orders())?,
        demand: Some(rows(&driver, DEMAND, recount.skus())?.into_iter().collect()),
        ..View::default()
    };
    Ok((recount, view))
}

fn rows<'a, V: Clone + 'static>(
    driver: &TopologyTestDriver,
    name: StoreName<String, V>,
    keys: impl Iterator<Item = &'a String>,
) -> Result<HashMap<String, V>> {
    let store = driver.key_value_store(name)?;
    let mut rows = HashMap::new();
    for key in keys {
        if let Some(row) = store.get(key)? {
            rows.insert(key.clone(), row.value);
        }
    }
    Ok(rows)
}

#[test]
fn a_recount_of_a_day_agrees_with_the_stores() -> Result<()> {
    let (recount, view) = a_day()?;
    assert_eq!(recount.differences(&view), []);
    assert_eq!(recount.events(), 1000);
    let mut states: BTreeMap<OrderState, usize> = BTreeMap::new();
    for status in view.status.values() {
        *states.entry(status.state).or_default() += 1;
    }
    let seen: Vec<OrderState> = states.into_keys().collect();
    let expected = [OrderState::Promised, OrderState::Refused, OrderState::Shipped, OrderState::Cancelled];
    assert_eq!(seen, expected, "the day had everything in it that can happen");
    Ok(())
}

/// What is damaged, how, and what the recount must name.
type Damage = (&'static str, fn(&mut Recount, &mut View), &'static str);

#[test]
fn any_damage_is_named_and_makes_the_program_fail() -> Result<()> {
    let (recount, view) = a_day()?;
    let damages: [Damage; 12] = [
        ("a tally of stock", |recount, _| tally(recount).on_hand += 1, "stock of apples"),
        ("a stock row", |_, view| *view.stock.get_mut("apples").unwrap() += 1, "stock of apples"),
        ("no stock row", |_, view| view.stock.retain(|sku, _| sku != "apples"), "stock of apples"),
        ("a tally of promises", |recount, _| tally(recount).promised += 1, "reserved pieces of apples"),
        (
            "more promised than came in",
            |recount, _| tally(recount).came_in = tally(recount).promised - tally(recount).cancelled - 1,
            "promises of apples",
        ),
        ("a tally of refusals", |recount, _| tally(recount).refused_orders += 1, "orders refused of apples"),
        (
            "a tally of orders promised",
            |recount, _| tally(recount).promised_orders += 1,
            "orders promised of apples",
        ),
        (
            "no status row",
            |_, view| view.status.retain(|order_id, _| order_id != "order-1"),
            "status of order-1",
        ),
        (
            "a status row too many",
            |_, view| {
                let status = OrderStatus { sku: "apples".into(), quantity: 1, state: OrderState::Placed };
                view.status.insert("order-0".into(), status);
            },
            "status of order-0",
        ),
        (
            "an order answered twice",
            |recount, _| recount.orders.get_mut("order-1").unwrap().answers += 1,
            "answers of order-1",
        ),
        (
            "a row of demand",
            |_, view| *view.demand.as_mut().unwrap().get_mut("apples").unwrap() += 1,
            "demand of apples",
        ),
        ("a dead letter too few", |recount, _| recount.unreadable += 1, "number of dead letters"),
    ];
    for (name, damage, named) in damages {
        let (mut recount, mut view) = (recount.clone(), view.clone());
        damage(&mut recount, &mut view);
        let differences = recount.differences(&view);
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.starts_with(&format!("{named}: "))), "{name}: {texts:?}");
        let outcome = Outcome::Differs { events: recount.events(), differences };
        assert_eq!(format!("{:?}", outcome.exit_code()), format!("{:?}", ExitCode::from(1)), "{name}");
        assert!(outcome.lines().iter().any(|line| line.contains(named)), "{name}: {:?}", outcome.lines());
    }
    Ok(())
}

fn tally(recount: &mut Recount) -> &mut super::SkuTally {
    recount.skus.get_mut("apples").unwrap()
}

#[test]
fn an_answer_that_contradicts_itself_is_named() {
    let mut recount = Recount::default();
    let answer = Availability {
        order_id: "order-1".into(),
        sku: "apples".into(),
        quantity: 5,
        on_hand: 9,
        reserved: 5,
        promised: true,
    };
    recount.answer(&answer);
    let differences = recount.differences(&View::default());
    assert!(differences.iter().any(|difference| difference.subject == "answer"), "{differences:?}");
}

#[test]
fn keys_of_other_instances_are_not_compared() -> Result<()> {
    let (recount, mut view) = a_day()?;
    view.stock.remove("apples");
    view.elsewhere.insert((STOCK.name(), "apples".into()));
    assert_eq!(recount.differences(&view), []);
    Ok(())
}
