import org.apache.avro.Schema;
import org.apache.avro.specific.SpecificRecordBase;

/** A bid in Avro, as Avro's compiler makes it of the schema, but for what builds, compares and writes one. */
final class Bid extends SpecificRecordBase {
    static final Schema SCHEMA = new Schema.Parser().parse("""
            {"type": "record", "name": "Bid", "fields": [
                {"name": "auction", "type": "long"}, {"name": "bidder", "type": "long"},
                {"name": "price", "type": "long"}, {"name": "url", "type": "string"}]}
            """);

    private long auction;
    private long bidder;
    private long price;
    private CharSequence url;

    long getPrice() {
        return price;
    }

    @Override
    public Schema getSchema() {
        return SCHEMA;
    }

    @Override
    public Object get(int field) {
        return switch (field) {
            case 0 -> auction;
            case 1 -> bidder;
            case 2 -> price;
            case 3 -> url;
            default -> throw new IndexOutOfBoundsException("a bid has no field " + field);
        };
    }

    @Override
    public void put(int field, Object value) {
        switch (field) {
            case 0 -> auction = (Long) value;
            case 1 -> bidder = (Long) value;
            case 2 -> price = (Long) value;
            case 3 -> url = (CharSequence) value;
            default -> throw new IndexOutOfBoundsException("a bid has no field " + field);
        }
    }
}
