//! Nexmark: queries over the people, auctions and bids of an auction site, as JSON. Queries 1 to 8 of Tucker et al., "NEXMark: a benchmark for
//! queries over data streams", over events that are generated from a seed (`src/auction_site.rs`).
//!
//! What an auction was sold for is the highest bid so far, so that the results do not depend on how two topics were read side by side.

use std::time::Duration;

use anyhow::Result;
use millstream::prelude::*;
use millstream::{KStream, KTable, StreamsBuilder};
use serde::{Deserialize, Serialize};

use super::Workload;
use super::throughput::{Emission, Throughput};
use crate::auction_site::{Auction, Bid, Event, Person};
use crate::child::OneRun;
use crate::input::{Content, EventTime, Input, Keys};
use crate::report::Goal;
use crate::sides::Limit;

const GOALS: &[Goal] = &[Goal::cpu(1.0 / 3.0), Goal::rss(0.25)];
const GOALS_OF_JOINS: &[Goal] = &[Goal::cpu(0.5), Goal::rss(0.25)];

/// What the names of its rows begin with.
pub(crate) const PREFIX: &str = "nexmark-";
pub(crate) const QUERIES: usize = 8;
/// The geometric mean of how many times Kafka Streams' throughput is ours.
pub(crate) const MEAN_MUST: f64 = 2.5;
pub(crate) const MEAN_STRETCH: f64 = 4.0;

const SPAN: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(2);
/// Partitions of the input are read one before the other: nothing is ever late, and results do not depend on it.
const GRACE: Duration = Duration::from_secs(600);

pub(super) fn rows() -> Vec<Throughput> {
    let row = |name, title, workload, records, emission| Throughput {
        emission,
        ours: if emission == Emission::EveryUpdate { &[] } else { &["commit.interval.ms=500"] },
        outputs_per_thousand: 920,
        has_topics_between: !keeps_nothing(workload),
        has_limit: keeps_nothing(workload),
        is_in_quick_look: false,
        is_in_full_look: false,
        ..Throughput::new(
            name,
            title,
            workload,
            Input {
                content: Content::AuctionSite,
                time: EventTime::Unhurried,
                ..Input::stream(records, Keys::Unique)
            },
            if is_join(workload) { GOALS_OF_JOINS } else { GOALS },
        )
    };
    // So many that the last records' way through the topics in between is little of the time.
    let (many, some) = (5_000_000, 1_000_000);
    let (every, all, last) = (Emission::EveryUpdate, Emission::Unforeseen, Emission::InTheEnd);
    vec![
        row("nexmark-q1", "prices of bids in another currency", Workload::NexmarkQ1, many, every),
        row("nexmark-q2", "bids on some of the auctions", Workload::NexmarkQ2, many, all),
        row("nexmark-q3", "auctions of a category by people of some states", Workload::NexmarkQ3, many, last),
        row("nexmark-q4", "average price of each category", Workload::NexmarkQ4, some, last),
        row("nexmark-q5", "auction with most bids in ten seconds", Workload::NexmarkQ5, some, last),
        row("nexmark-q6", "average of the last ten prices of each seller", Workload::NexmarkQ6, some, last),
        row("nexmark-q7", "highest bid of each ten seconds", Workload::NexmarkQ7, some, last),
        row(
            "nexmark-q8",
            "people who sell within ten seconds of their coming",
            Workload::NexmarkQ8,
            many,
            all,
        ),
    ]
}

/// Whether it is one of the first two, which only read and write.
fn keeps_nothing(query: Workload) -> bool {
    matches!(query, Workload::NexmarkQ1 | Workload::NexmarkQ2)
}

/// Whether it joins auctions with people.
fn is_join(query: Workload) -> bool {
    matches!(query, Workload::NexmarkQ3 | Workload::NexmarkQ8)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offer {
    name: String,
    state: String,
    auction: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Price {
    auction: i64,
    price: i64,
}

/// An auction so far; only its bids may have come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sale {
    seller: Option<i64>,
    category: Option<i64>,
    price: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Prices {
    sum: i64,
    count: i64,
}

/// The newest auctions with their prices, in the order of their ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LastPrices {
    prices: Vec<Price>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct HotItem {
    auction: i64,
    bids: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct NewSeller {
    name: String,
    auction: i64,
}

json_serde!(Event, Person, Auction, Bid, Offer, Price, Sale, Prices, LastPrices, HotItem, NewSeller);

const SALES: StoreName<i64, Sale> = StoreName::new("sales");
const HOTTEST: StoreName<i64, HotItem> = StoreName::new("hottest");
const BIDS: WindowStoreName<i64, u64> = WindowStoreName::new("bids");
const HIGHEST: WindowStoreName<i64, Price> = WindowStoreName::new("highest");
const PEOPLE: StoreName<i64, Person> = StoreName::new("people");
const AUCTIONS: StoreName<i64, Auction> = StoreName::new("auctions");
const AVERAGES: StoreName<i64, Prices> = StoreName::new("averages");
const LAST_PRICES: StoreName<i64, LastPrices> = StoreName::new("last-prices");

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let events = builder.stream::<Vec<u8>, Event>(run.input.as_str());
    let output = run.output.as_str();
    match run.workload {
        Workload::NexmarkQ1 => {
            bids(&events).map_values(|_, bid| in_euros(bid)).to(output);
        }
        Workload::NexmarkQ2 => {
            let some = bids(&events).filter(|_, bid| is_chosen(bid));
            some.map_values(|_, bid| Price { auction: bid.auction, price: bid.price }).to(output);
        }
        Workload::NexmarkQ3 => {
            let near = people(&events).filter(|_, person| ["OR", "ID", "CA"].contains(&&*person.state));
            let near =
                near.select_key(|_, person| person.id).to_table().materialized(PEOPLE.without_caching());
            let chosen = auctions(&events).filter(|_, auction| auction.category == 10);
            let chosen = chosen
                .select_key(|_, auction| auction.id)
                .to_table()
                .materialized(AUCTIONS.without_caching());
            let offers = chosen.on(|_id, auction| auction.seller).join(&near, |auction, person| Offer {
                name: person.name.clone(),
                state: person.state.clone(),
                auction: auction.id,
            });
            offers.to_stream().to(output);
        }
        Workload::NexmarkQ4 => {
            let by_category =
                sales(&events).group_by(|_auction, sale| (sale.category.unwrap_or(0), sale.price));
            let averages = by_category.aggregate(
                AVERAGES.without_caching(),
                Prices::default,
                |_, price, prices| Prices { sum: prices.sum + price, count: prices.count + 1 },
                |_, price, prices| Prices { sum: prices.sum - price, count: prices.count - 1 },
            );
            averages.map_values(|_, prices| prices.sum / prices.count.max(1)).to_stream().to(output);
        }
        Workload::NexmarkQ5 => {
            let by_auction = bids(&events).select_key(|_, bid| bid.auction).group_by_key();
            let windows = TimeWindows::of_size_and_grace(SPAN, GRACE).advance_by(EVERY);
            let counts = by_auction.windowed_by(windows).count(BIDS.without_caching()).to_stream();
            let items = counts.map(|windowed, bids| {
                let bids = i64::try_from(bids.unwrap_or(0)).unwrap_or(i64::MAX);
                (windowed.window.start.as_millis(), HotItem { auction: windowed.key, bids })
            });
            let hotter = |_: &_, item: HotItem, hottest: HotItem| {
                let is_hotter = (item.bids, -item.auction) > (hottest.bids, -hottest.auction);
                if is_hotter { item } else { hottest }
            };
            items
                .group_by_key()
                .aggregate(HOTTEST.without_caching(), HotItem::default, hotter)
                .to_stream()
                .to(output);
        }
        Workload::NexmarkQ6 => {
            let by_seller = sales(&events).group_by(|auction, sale| {
                (sale.seller.unwrap_or(0), Price { auction: *auction, price: sale.price })
            });
            let last = by_seller.aggregate(
                LAST_PRICES.without_caching(),
                LastPrices::default,
                |_, price, last| last.with(price),
                |_, price, last| last.without(price.auction),
            );
            last.map_values(|_, last| last.average()).to_stream().to(output);
        }
        Workload::NexmarkQ7 => {
            let all = bids(&events).select_key(|_, _bid| 0_i64).group_by_key();
            let higher = |_: &_, bid: Bid, highest: Price| {
                let is_higher = (bid.price, -bid.auction) > (highest.price, -highest.auction);
                if is_higher { Price { auction: bid.auction, price: bid.price } } else { highest }
            };
            let none = || Price { auction: 0, price: 0 };
            let windows = all.windowed_by(TimeWindows::of_size_and_grace(SPAN, GRACE));
            let highest = windows.aggregate(HIGHEST.without_caching(), none, higher).to_stream();
            highest.map(|windowed, price| (windowed.window.start.as_millis(), price)).to(output);
        }
        _ => {
            let people = people(&events).select_key(|_, person| person.id);
            let auctions = auctions(&events).select_key(|_, auction| auction.seller);
            let within = JoinWindows::of_time_difference_and_grace(SPAN, GRACE);
            let sellers = people.within(within).join(&auctions, |person, auction| NewSeller {
                name: person.name.clone(),
                auction: auction.id,
            });
            sellers.to(output);
        }
    }
}

/// The first two queries, which keep nothing, by hand.
pub(super) fn limit(run: &OneRun) -> Result<()> {
    let limit = Limit::new(run, &[&run.input], &[&run.output])?;
    let mut result = Vec::new();
    limit.run(|limit, record| {
        let Ok(Event::Bid(bid)) = serde_json::from_slice(record.value) else { return };
        result.clear();
        let written = match run.workload {
            Workload::NexmarkQ1 => serde_json::to_writer(&mut result, &in_euros(bid)),
            _ if !is_chosen(&bid) => return,
            _ => serde_json::to_writer(&mut result, &Price { auction: bid.auction, price: bid.price }),
        };
        written.expect("numbers and texts have a JSON");
        limit.produce(0, record.key, &result, record.timestamp);
    })
}

fn in_euros(bid: Bid) -> Bid {
    Bid { price: bid.price * 89 / 100, ..bid }
}

fn is_chosen(bid: &Bid) -> bool {
    bid.auction % 123 == 0
}

fn people(events: &KStream<Vec<u8>, Event>) -> KStream<Vec<u8>, Person> {
    events.flat_map_values(|_, event| match event {
        Event::Person(person) => Some(person),
        _ => None,
    })
}

fn auctions(events: &KStream<Vec<u8>, Event>) -> KStream<Vec<u8>, Auction> {
    events.flat_map_values(|_, event| match event {
        Event::Auction(auction) => Some(auction),
        _ => None,
    })
}

fn bids(events: &KStream<Vec<u8>, Event>) -> KStream<Vec<u8>, Bid> {
    events.flat_map_values(|_, event| match event {
        Event::Bid(bid) => Some(bid),
        _ => None,
    })
}

/// Each auction with its seller, its category and its highest bid so far.
fn sales(events: &KStream<Vec<u8>, Event>) -> KTable<i64, Sale> {
    let of_auctions = events.filter(|_, event| !matches!(event, Event::Person(_)));
    let by_auction = of_auctions.select_key(|_, event| match event {
        Event::Auction(auction) => auction.id,
        Event::Bid(bid) => bid.auction,
        Event::Person(person) => person.id,
    });
    let sales =
        by_auction.group_by_key().aggregate(SALES.without_caching(), Sale::default, |_, event, sale| {
            match event {
                Event::Auction(auction) => {
                    Sale { seller: Some(auction.seller), category: Some(auction.category), ..sale }
                }
                Event::Bid(bid) => Sale { price: sale.price.max(bid.price), ..sale },
                Event::Person(_) => sale,
            }
        });
    sales.filter(|_, sale| sale.seller.is_some() && sale.price > 0)
}

impl LastPrices {
    const MOST: usize = 10;

    fn with(mut self, price: Price) -> Self {
        let place = self.prices.partition_point(|other| other.auction < price.auction);
        self.prices.insert(place, price);
        if self.prices.len() > Self::MOST {
            self.prices.remove(0);
        }
        self
    }

    fn without(mut self, auction: i64) -> Self {
        self.prices.retain(|price| price.auction != auction);
        self
    }

    fn average(&self) -> i64 {
        let sum: i64 = self.prices.iter().map(|price| price.price).sum();
        sum / i64::try_from(self.prices.len()).unwrap_or(1).max(1)
    }
}
