import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;

/** Bids in several formats, of which the price is wanted, as {@code src/rows/decode.rs} has them. */
final class Bids {
    private Bids() {}

    static KStream<byte[], Long> prices(StreamsBuilder builder, String input, String workload) {
        Serde<Nexmark.Bid> bids =
                workload.equals("decode-protobuf") ? onlyRead() : Nexmark.json(Nexmark.Bid.class);
        return builder.stream(input, Consumed.with(Serdes.ByteArray(), bids)).mapValues(Nexmark.Bid::price);
    }

    private static Serde<Nexmark.Bid> onlyRead() {
        return Serdes.serdeFrom(
                (topic, bid) -> {
                    throw new UnsupportedOperationException("bids are only read");
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : message(bytes);
                    } catch (IOException noMessage) {
                        throw new UncheckedIOException(noMessage);
                    }
                });
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
