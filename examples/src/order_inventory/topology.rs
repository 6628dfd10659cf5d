//! The program: what is on hand, what of it is promised, and how far each order is.
//!
//! ```text
//! orders ─────────────► by sku ──► join ──► claims ──► RESERVATIONS ──► order-availability
//!    │                              ▲          ▲             │
//!    │   stock-movements ──► STOCK ─┘          │             │ answers
//!    │          └─────────── shipments ────────┘             │
//!    │                           └────────────┬──────────────┘
//!    └──────────────► STATUS ◄── by order ────┘
//! ```
//!
//! **Why the same apple is not promised twice.** Everything about a sku meets in one task, which works record by record: the
//! orders, sent through a repartition topic by sku; the movements, which have this key already; both stores. An order is joined with
//! the stock on hand and, in the same step, compared with what earlier orders reserved. So each answer sees every reservation made
//! before it, and no other answer is being made meanwhile. That is also why STOCK and the answers are not two programs: between them
//! there would be a topic, and in its delay an apple could be promised again.
//!
//! **Shipping** is one fact, not two: a movement that names an order takes the goods out of STOCK and ends the reservation within
//! the processing of one record, so what is free (on hand less reserved) does not change in between.
//!
//! **What depends on order.** Records of one partition are processed in order; between `orders` and `stock-movements` the order is that of
//! their timestamps as far as the task sees them, so another run may promise to other orders. The sums do not depend on it:
//! `recount` says which.
//!
//! **A changed program.** With [`Views::demand`] there is one view more: what was asked for, by sku, whether or not it was promised. Read over the
//! history that is there already, which takes a reset, it counts the orders of the past, too.

use millstream::prelude::*;
use serde::{Deserialize, Serialize};

use super::events::{Availability, Order, OrderEvent, OrderState, OrderStatus, Reservations, StockMoved};
use super::topics::Topics;

/// Pieces in the warehouse, by sku.
pub const STOCK: StoreName<String, i64> = StoreName::new("stock");
/// What is promised of them, by sku.
pub const RESERVATIONS: StoreName<String, Reservations> = StoreName::new("reservations");
/// How far each order is, by order id.
pub const STATUS: StoreName<String, OrderStatus> = StoreName::new("order-status");

/// Pieces that were asked for, by sku; only with [`Views::demand`].
pub const DEMAND: StoreName<String, i64> = StoreName::new("demand");

/// The views the program keeps beyond those it always has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Whether it keeps what was asked for.
    pub demand: bool,
}

/// The program on these topics.
///
/// # Errors
/// `Invalid` if a topic name is bad.
pub fn topology(topics: &Topics, views: Views) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, OrderEvent>(topics.orders.as_str());
    let movements = builder.stream::<String, StockMoved>(topics.stock_movements.as_str());

    let stock =
        movements.group_by_key().aggregate(STOCK, || 0, |_sku, moved, on_hand| on_hand + moved.quantity);

    let orders_by_sku =
        orders.select_key(|_order_id, event| event.order().sku.clone()).repartition("orders-by-sku");
    if views.demand {
        orders_by_sku.group_by_key().aggregate(
            DEMAND,
            || 0,
            |_sku, event, wanted| wanted + event.pieces_wanted(),
        );
    }
    let claims_of_orders =
        orders_by_sku.left_join(&stock, |event, on_hand| Claim::of(event, on_hand.copied().unwrap_or(0)));
    let shipments = movements.filter(|_sku, moved| moved.order_id.is_some());
    let claims_of_shipments =
        shipments.map_values(|_sku, moved| Claim::Released { quantity: -moved.quantity });

    // Uncached, so that each answer comes out and not only the newest of each commit.
    let answers = claims_of_orders
        .merge(&claims_of_shipments)
        .group_by_key()
        .aggregate(RESERVATIONS.without_caching(), Reservations::default, |_sku, claim, row| {
            claim.apply_to(row)
        })
        .to_stream()
        .flat_map(|_sku, row| {
            row.and_then(|row| row.decision).map(|answer| (answer.order_id.clone(), answer))
        });
    answers.to(topics.order_availability.as_str());

    let progress = answers
        .map_values(|_order_id, answer| OrderStatus::answered(answer))
        .merge(&shipments.flat_map(|_sku, moved| OrderStatus::shipped(moved)))
        .repartition("progress-by-order");
    orders
        .map_values(|_order_id, event| OrderStatus::of_event(event))
        .merge(&progress)
        .group_by_key()
        .reduce(STATUS, OrderStatus::furthest);
    builder.build()
}

/// What happens to the reservations of a sku.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Claim {
    /// An order wants some, of which so many are on hand.
    Wanted { order: Order, on_hand: i64 },
    /// Promised goods left the warehouse or were given back.
    Released { quantity: i64 },
}

json_serde!(Claim);

impl Claim {
    fn of(event: OrderEvent, on_hand: i64) -> Self {
        match event {
            OrderEvent::Placed(order) => Claim::Wanted { order, on_hand },
            OrderEvent::Cancelled(order) => Claim::Released { quantity: i64::from(order.quantity) },
        }
    }

    fn apply_to(self, row: Reservations) -> Reservations {
        match self {
            Claim::Released { quantity } => {
                Reservations { reserved: row.reserved - quantity, decision: None, ..row }
            }
            Claim::Wanted { order, on_hand } => {
                let answer = Availability::decide(order, on_hand, row.reserved);
                let newly_reserved = if answer.promised { i64::from(answer.quantity) } else { 0 };
                Reservations {
                    reserved: row.reserved + newly_reserved,
                    promised_orders: row.promised_orders + u64::from(answer.promised),
                    refused_orders: row.refused_orders + u64::from(!answer.promised),
                    decision: Some(answer),
                }
            }
        }
    }
}

impl OrderStatus {
    fn of_event(event: OrderEvent) -> Self {
        let state = match &event {
            OrderEvent::Placed(_) => OrderState::Placed,
            OrderEvent::Cancelled(_) => OrderState::Cancelled,
        };
        let order = event.order();
        OrderStatus { sku: order.sku.clone(), quantity: order.quantity, state }
    }

    fn answered(answer: Availability) -> Self {
        let state = if answer.promised { OrderState::Promised } else { OrderState::Refused };
        OrderStatus { sku: answer.sku, quantity: answer.quantity, state }
    }

    /// The status of the order that goods were shipped for.
    fn shipped(moved: StockMoved) -> Option<(String, Self)> {
        let quantity = u32::try_from(-moved.quantity).ok()?;
        Some((moved.order_id?, OrderStatus { sku: moved.sku, quantity, state: OrderState::Shipped }))
    }

    /// Of two things said about an order, the one that is further on.
    pub fn furthest(one: Self, other: Self) -> Self {
        if other.state > one.state { other } else { one }
    }
}

#[cfg(test)]
mod tests;
