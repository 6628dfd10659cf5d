import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** Nexmark's queries, as {@code src/rows/nexmark.rs} has them. */
final class Nexmark {
    record Person(long id, String name, String state) {}

    record Auction(long id, long seller, long category) {}

    record Bid(long auction, long bidder, long price, String url) {}

    /** One of the three. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Event(Person person, Auction auction, Bid bid) {}

    record Offer(String name, String state, long auction) {}

    record Price(long auction, long price) {}

    /** An auction so far; only its bids may have come. */
    record Sale(Long seller, Long category, long price) {}

    record Prices(long sum, long count) {}

    /** The newest auctions with their prices, in the order of their ids. */
    record LastPrices(List<Price> prices) {
        LastPrices with(Price price) {
            List<Price> all = new ArrayList<>(prices);
            int place = 0;
            while (place < all.size() && all.get(place).auction() < price.auction()) {
                place++;
            }
            all.add(place, price);
            if (all.size() > 10) {
                all.remove(0);
            }
            return new LastPrices(all);
        }

        LastPrices without(long auction) {
            List<Price> all = new ArrayList<>(prices);
            all.removeIf(price -> price.auction() == auction);
            return new LastPrices(all);
        }

        long average() {
            return prices.stream().mapToLong(Price::price).sum() / Math.max(prices.size(), 1);
        }
    }

    record HotItem(long auction, long bids) {}

    record NewSeller(String name, long auction) {}

    private static final Duration SPAN = Duration.ofSeconds(10);
    private static final Duration GRACE = Duration.ofSeconds(600);
    private static final Duration EVERY = Duration.ofSeconds(2);
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private final String output;
    private final KStream<byte[], Event> events;

    private Nexmark(StreamsBuilder builder, String input, String output) {
        this.output = output;
        this.events = builder.stream(input, Consumed.with(Serdes.ByteArray(), json(Event.class)));
    }

    static void query(String query, StreamsBuilder builder, String input, String output) {
        Nexmark nexmark = new Nexmark(builder, input, output);
        switch (query) {
            case "nexmark-q1" -> nexmark.inEuros();
            case "nexmark-q2" -> nexmark.someBids();
            case "nexmark-q3" -> nexmark.offersNearby();
            case "nexmark-q4" -> nexmark.averagesOfCategories();
            case "nexmark-q5" -> nexmark.hotItems();
            case "nexmark-q6" -> nexmark.averagesOfSellers();
            case "nexmark-q7" -> nexmark.highestBids();
            case "nexmark-q8" -> nexmark.newSellers();
            default -> throw new IllegalArgumentException("no such workload: " + query);
        }
    }

    private void inEuros() {
        bids().mapValues(bid -> new Bid(bid.auction(), bid.bidder(), bid.price() * 89 / 100, bid.url()))
                .to(output, Produced.with(Serdes.ByteArray(), json(Bid.class)));
    }

    private void someBids() {
        bids().filter((key, bid) -> bid.auction() % 123 == 0)
                .mapValues(bid -> new Price(bid.auction(), bid.price()))
                .to(output, Produced.with(Serdes.ByteArray(), json(Price.class)));
    }

    private void offersNearby() {
        Set<String> states = Set.of("OR", "ID", "CA");
        KTable<Long, Person> near = people()
                .filter((key, person) -> states.contains(person.state()))
                .selectKey((key, person) -> person.id())
                .toTable(stored("people", Person.class));
        KTable<Long, Auction> chosen = auctions()
                .filter((key, auction) -> auction.category() == 10)
                .selectKey((key, auction) -> auction.id())
                .toTable(stored("auctions", Auction.class));
        chosen.join(
                        near,
                        Auction::seller,
                        (auction, person) -> new Offer(person.name(), person.state(), auction.id()))
                .toStream()
                .to(output, Produced.with(Serdes.Long(), json(Offer.class)));
    }

    private void averagesOfCategories() {
        sales().groupBy(
                        (auction, sale) -> KeyValue.pair(sale.category(), sale.price()),
                        Grouped.with(Serdes.Long(), Serdes.Long()))
                .aggregate(
                        () -> new Prices(0, 0),
                        (category, price, prices) -> new Prices(prices.sum() + price, prices.count() + 1),
                        (category, price, prices) -> new Prices(prices.sum() - price, prices.count() - 1),
                        stored("averages", Prices.class))
                .mapValues(prices -> prices.sum() / Math.max(prices.count(), 1))
                .toStream()
                .to(output, Produced.with(Serdes.Long(), Serdes.Long()));
    }

    private void hotItems() {
        bids().selectKey((key, bid) -> bid.auction())
                .groupByKey(Grouped.with(Serdes.Long(), json(Bid.class)))
                .windowedBy(TimeWindows.ofSizeAndGrace(SPAN, GRACE).advanceBy(EVERY))
                .count(Materialized.<Long, Long, WindowStore<Bytes, byte[]>>as("bids")
                        .withKeySerde(Serdes.Long())
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .map((windowed, bids) ->
                        KeyValue.pair(windowed.window().start(), new HotItem(windowed.key(), bids)))
                .groupByKey(Grouped.with(Serdes.Long(), json(HotItem.class)))
                .aggregate(
                        () -> new HotItem(0, 0),
                        (start, item, hottest) -> item.bids() > hottest.bids()
                                        || item.bids() == hottest.bids() && item.auction() < hottest.auction()
                                ? item
                                : hottest,
                        stored("hottest", HotItem.class))
                .toStream()
                .to(output, Produced.with(Serdes.Long(), json(HotItem.class)));
    }

    private void averagesOfSellers() {
        sales().groupBy(
                        (auction, sale) -> KeyValue.pair(sale.seller(), new Price(auction, sale.price())),
                        Grouped.with(Serdes.Long(), json(Price.class)))
                .aggregate(
                        () -> new LastPrices(List.of()),
                        (seller, price, last) -> last.with(price),
                        (seller, price, last) -> last.without(price.auction()),
                        stored("last-prices", LastPrices.class))
                .mapValues(LastPrices::average)
                .toStream()
                .to(output, Produced.with(Serdes.Long(), Serdes.Long()));
    }

    private void highestBids() {
        bids().selectKey((key, bid) -> 0L)
                .groupByKey(Grouped.with(Serdes.Long(), json(Bid.class)))
                .windowedBy(TimeWindows.ofSizeAndGrace(SPAN, GRACE))
                .aggregate(
                        () -> new Price(0, 0),
                        (key, bid, highest) -> bid.price() > highest.price()
                                        || bid.price() == highest.price() && bid.auction() < highest.auction()
                                ? new Price(bid.auction(), bid.price())
                                : highest,
                        Materialized.<Long, Price, WindowStore<Bytes, byte[]>>as("highest")
                                .withKeySerde(Serdes.Long())
                                .withValueSerde(json(Price.class)))
                .toStream()
                .map((windowed, price) -> KeyValue.pair(windowed.window().start(), price))
                .to(output, Produced.with(Serdes.Long(), json(Price.class)));
    }

    private void newSellers() {
        people().selectKey((key, person) -> person.id())
                .join(
                        auctions().selectKey((key, auction) -> auction.seller()),
                        (person, auction) -> new NewSeller(person.name(), auction.id()),
                        JoinWindows.ofTimeDifferenceAndGrace(SPAN, GRACE),
                        StreamJoined.with(Serdes.Long(), json(Person.class), json(Auction.class)))
                .to(output, Produced.with(Serdes.Long(), json(NewSeller.class)));
    }

    private KStream<byte[], Person> people() {
        return events.filter((key, event) -> event.person() != null).mapValues(Event::person);
    }

    private KStream<byte[], Auction> auctions() {
        return events.filter((key, event) -> event.auction() != null).mapValues(Event::auction);
    }

    private KStream<byte[], Bid> bids() {
        return events.filter((key, event) -> event.bid() != null).mapValues(Event::bid);
    }

    /** Each auction with its seller, its category and its highest bid so far. */
    private KTable<Long, Sale> sales() {
        return events.filter((key, event) -> event.person() == null)
                .selectKey((key, event) -> event.bid() != null ? event.bid().auction() : event.auction().id())
                .groupByKey(Grouped.with(Serdes.Long(), json(Event.class)))
                .aggregate(
                        () -> new Sale(null, null, 0),
                        (auction, event, sale) -> event.bid() != null
                                ? new Sale(sale.seller(), sale.category(), Math.max(sale.price(), event.bid().price()))
                                : new Sale(event.auction().seller(), event.auction().category(), sale.price()),
                        stored("sales", Sale.class))
                .filter((auction, sale) -> sale.seller() != null && sale.price() > 0);
    }

    private static <V> Materialized<Long, V, KeyValueStore<Bytes, byte[]>> stored(String store, Class<V> type) {
        return Materialized.<Long, V, KeyValueStore<Bytes, byte[]>>as(store)
                .withKeySerde(Serdes.Long())
                .withValueSerde(json(type));
    }

    static <T> Serde<T> json(Class<T> type) {
        ObjectReader reader = MAPPER.readerFor(type);
        ObjectWriter writer = MAPPER.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return value == null ? null : writer.writeValueAsBytes(value);
                    } catch (JsonProcessingException notJson) {
                        throw new UncheckedIOException(notJson);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : reader.readValue(bytes);
                    } catch (IOException notJson) {
                        throw new UncheckedIOException(notJson);
                    }
                });
    }
}
