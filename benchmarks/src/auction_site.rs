//! The events of Nexmark: of fifty, one person comes, three auctions begin, and 46 are bids.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// One event; in JSON an object with one field, which names its kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) state: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Auction {
    pub(crate) id: i64,
    pub(crate) seller: i64,
    pub(crate) category: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bid {
    pub(crate) auction: i64,
    pub(crate) bidder: i64,
    pub(crate) price: i64,
    pub(crate) url: String,
}

const EVENTS: i64 = 50;
const AUCTIONS: i64 = 3;
/// So many of the newest people sell and bid, and so many of the newest auctions are bid on.
const ACTIVE: i64 = 100;

impl Event {
    /// The event of this number.
    pub(crate) fn of_number(number: i64, random: &mut StdRng) -> Self {
        let (round, place) = (number / EVENTS, number % EVENTS);
        let person = |random: &mut StdRng| random.random_range((round - ACTIVE).max(0)..=round);
        match place {
            0 => {
                let states = ["AZ", "CA", "ID", "OR", "WA", "WY"];
                let state = states[random.random_range(0..states.len())].to_owned();
                Event::Person(Person { id: round, name: format!("person {round}"), state })
            }
            1..=AUCTIONS => Event::Auction(Auction {
                id: round * AUCTIONS + place - 1,
                seller: person(random),
                category: random.random_range(10..15),
            }),
            _ => {
                let newest = round * AUCTIONS + AUCTIONS - 1;
                let auction = random.random_range((newest - ACTIVE).max(0)..=newest);
                Event::Bid(Bid {
                    auction,
                    bidder: person(random),
                    price: random.random_range(1..1_000_000),
                    url: format!("https://www.nexmark.com/auctions/item.html?item={auction}"),
                })
            }
        }
    }
}
