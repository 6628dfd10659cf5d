import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DatumReader;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificData;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;

/** Bids in several formats, of which the price is wanted, as {@code src/rows/decode.rs} has them. */
final class Bids {
    private Bids() {}

    static KStream<byte[], Long> prices(StreamsBuilder builder, String input, String workload) {
        return switch (workload) {
            case "decode-avro" -> bids(builder, input, onlyRead(avro())).mapValues(Bid::getPrice);
            case "decode-protobuf" -> bids(builder, input, onlyRead(Bids::message)).mapValues(Nexmark.Bid::price);
            default -> bids(builder, input, Nexmark.json(Nexmark.Bid.class)).mapValues(Nexmark.Bid::price);
        };
    }

    private static <T> KStream<byte[], T> bids(StreamsBuilder builder, String input, Serde<T> serde) {
        return builder.stream(input, Consumed.with(Serdes.ByteArray(), serde));
    }

    /** What makes a value of its bytes. */
    private interface Reading<T> {
        T of(byte[] bytes) throws IOException;
    }

    private static <T> Serde<T> onlyRead(Reading<T> reading) {
        return Serdes.serdeFrom(
                (topic, bid) -> {
                    throw new UnsupportedOperationException("bids are only read");
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : reading.of(bytes);
                    } catch (IOException noBid) {
                        throw new UncheckedIOException(noBid);
                    }
                });
    }

    /** As fast as the library can: by its fast reader, which is off by default, with one decoder for each thread. */
    private static Reading<Bid> avro() {
        SpecificData data = new SpecificData();
        data.setFastReaderEnabled(true);
        DatumReader<Bid> reader = new SpecificDatumReader<>(Bid.SCHEMA, Bid.SCHEMA, data);
        DecoderFactory decoders = DecoderFactory.get();
        ThreadLocal<BinaryDecoder> decoder = ThreadLocal.withInitial(() -> decoders.binaryDecoder(new byte[0], null));
        return bytes -> reader.read(null, decoders.binaryDecoder(bytes, decoder.get()));
    }

    /** As code of protoc reads it that is optimized for speed: field by field, over protobuf-java. */
    private static Nexmark.Bid message(byte[] bytes) throws IOException {
        CodedInputStream input = CodedInputStream.newInstance(bytes);
        long auction = 0;
        long bidder = 0;
        long price = 0;
        String url = "";
        for (int tag = input.readTag(); tag != 0; tag = input.readTag()) {
            switch (tag) {
                case 8 -> auction = input.readInt64();
                case 16 -> bidder = input.readInt64();
                case 24 -> price = input.readInt64();
                case 34 -> url = input.readStringRequireUtf8();
                default -> {
                    if (!input.skipField(tag)) {
                        throw new InvalidProtocolBufferException("the end of a group that did not begin");
                    }
                }
            }
        }
        return new Nexmark.Bid(auction, bidder, price, url);
    }
}
