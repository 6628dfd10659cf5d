//! How often each key came, where each value is decoded for it: a bid, of which the price is wanted. Bids are the same in every format.

use std::sync::Arc;

use millstream::prelude::*;
use millstream::{Borrowed, HasSerde, JsonSerde, KStream, ProtobufSerde, SerdeRef, StreamsBuilder};
use serde::Deserialize;

use super::throughput::Throughput;
use super::{COUNTS, Workload};
use crate::auction_site::Bid;
use crate::child::OneRun;
use crate::input::{Content, Format, Input, Keys};
use crate::report::Goal;

const GOALS: &[Goal] = &[Goal::throughput(3.0, 4.5), Goal::cpu(1.0 / 3.0), Goal::rss(0.25)];

pub(super) fn rows() -> Vec<Throughput> {
    vec![
        row("decode-json", "decode bids in JSON, count 100 k keys", Workload::DecodeJson, Format::Json),
        row(
            "decode-json-borrowed",
            "the same, texts borrowed from the message",
            Workload::DecodeJsonBorrowed,
            Format::Json,
        ),
        row("decode-avro", "decode bids in Avro, count 100 k keys", Workload::DecodeAvro, Format::Avro),
        row(
            "decode-protobuf",
            "decode bids in Protobuf, count 100 k keys",
            Workload::DecodeProtobuf,
            Format::Protobuf,
        ),
    ]
}

fn row(name: &'static str, title: &'static str, workload: Workload, format: Format) -> Throughput {
    let input = Input { content: Content::Bids(format), ..Input::stream(1_200_000, Keys::Uniform(100_000)) };
    Throughput {
        has_limit: false,
        is_in_quick_look: false,
        ..Throughput::new(name, title, workload, input, GOALS)
    }
}

/// A bid whose text lies in the message.
#[derive(Deserialize)]
#[allow(dead_code, reason = "decoded as a bid is, field by field")]
struct BidView<'message> {
    auction: i64,
    bidder: i64,
    price: i64,
    url: &'message str,
}

impl Borrowed for BidView<'_> {
    type As<'message> = BidView<'message>;
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let prices = match run.workload {
        Workload::DecodeJsonBorrowed => {
            read(builder, run, JsonSerde::<BidView>::new().reading(|bid| bid.price))
        }
        Workload::DecodeAvro => prices(&read(builder, run, Arc::new(Bid::avro()))),
        Workload::DecodeProtobuf => prices(&read(builder, run, Arc::new(ProtobufSerde::<Bid>::new()))),
        _ => prices(&read(builder, run, Bid::serde())),
    };
    prices.group_by_key().count(COUNTS.without_caching()).to_stream().to(run.output.as_str());
}

fn read<V: RecordField>(builder: &StreamsBuilder, run: &OneRun, values: SerdeRef<V>) -> KStream<Vec<u8>, V> {
    builder.stream(Source::topic(run.input.as_str()).with_value_serde(values))
}

fn prices(bids: &KStream<Vec<u8>, Bid>) -> KStream<Vec<u8>, i64> {
    bids.map_values(|_, bid| bid.price)
}
