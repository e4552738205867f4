// SPDX-License-Identifier: Apache-2.0
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/**
 * Where Java's producer puts a key: for each line of stdin, a key in hexadecimal, that and
 * its partition for each of the counts in the arguments. A line with "#" stays as it is.
 */
public class Partitions {
    public static void main(String[] counts) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.startsWith("#")) {
                System.out.println(line);
                continue;
            }
            byte[] key = HexFormat.of().parseHex(line.split(" ")[0]);
            StringBuilder out = new StringBuilder(line.split(" ")[0]);
            for (String count : counts) {
                out.append(' ').append(
                    BuiltInPartitioner.partitionForKey(key, Integer.parseInt(count)));
            }
            System.out.println(out);
        }
    }
}
