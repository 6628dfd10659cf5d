import kafka.Kafka;
import kafka.tools.StorageTool;

/**
 * Apache Kafka as one combined broker and controller. Formats the data folder on the first start and keeps it on the
 * next ones, in one JVM, because starting a second one for the format costs more than the format.
 */
public final class Broker {
    private static final String CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw";

    public static void main(String[] arguments) {
        String[] format = {"format", "--ignore-formatted", "--cluster-id", CLUSTER_ID, "--config", arguments[0]};
        int exitCode = StorageTool.execute(format, System.err);
        if (exitCode != 0) {
            System.exit(exitCode);
        }
        Kafka.main(arguments);
    }
}
