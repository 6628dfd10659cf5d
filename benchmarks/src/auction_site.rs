//! The events of Nexmark: of fifty, one person comes, three auctions begin, and 46 are bids.

use millstream::AvroSerde;
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

/// In JSON an object, in Avro a record, in Protobuf a message.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(crate) struct Bid {
    #[prost(int64, tag = "1")]
    pub(crate) auction: i64,
    #[prost(int64, tag = "2")]
    pub(crate) bidder: i64,
    #[prost(int64, tag = "3")]
    pub(crate) price: i64,
    #[prost(string, tag = "4")]
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
        match place {
            0 => {
                let states = ["AZ", "CA", "ID", "OR", "WA", "WY"];
                let state = states[random.random_range(0..states.len())].to_owned();
                Event::Person(Person { id: round, name: format!("person {round}"), state })
            }
            1..=AUCTIONS => Event::Auction(Auction {
                id: round * AUCTIONS + place - 1,
                seller: active_person(round, random),
                category: random.random_range(10..15),
            }),
            _ => Event::Bid(Bid::of_number(number, random)),
        }
    }
}

impl Bid {
    /// What writes and reads it in Avro.
    pub(crate) fn avro() -> AvroSerde<Self> {
        AvroSerde::with_schema(
            r#"{"type": "record", "name": "Bid", "fields": [
                {"name": "auction", "type": "long"}, {"name": "bidder", "type": "long"},
                {"name": "price", "type": "long"}, {"name": "url", "type": "string"}]}"#,
        )
    }

    /// The bid that this event is, if it is one.
    pub(crate) fn of_number(number: i64, random: &mut StdRng) -> Self {
        let round = number / EVENTS;
        let newest = round * AUCTIONS + AUCTIONS - 1;
        let auction = random.random_range((newest - ACTIVE).max(0)..=newest);
        Bid {
            auction,
            bidder: active_person(round, random),
            price: random.random_range(1..1_000_000),
            url: format!("https://www.nexmark.com/auctions/item.html?item={auction}"),
        }
    }
}

fn active_person(round: i64, random: &mut StdRng) -> i64 {
    random.random_range((round - ACTIVE).max(0)..=round)
}

#[cfg(test)]
mod tests {
    use millstream::Serde as _;

    use super::*;

    #[test]
    fn a_bid_in_avro_is_its_fields_and_nothing_before_them() {
        let bid = Bid { auction: 5, bidder: 6, price: 700, url: "https://a".into() };
        let mut bytes = Vec::new();
        Bid::avro().encode(&bid, &mut bytes).unwrap();
        assert_eq!(bytes, b"\x0a\x0c\xf8\x0a\x12https://a");
        assert_eq!(Bid::avro().decode(&bytes).unwrap(), bid);
    }
}
