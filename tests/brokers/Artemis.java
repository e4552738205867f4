// SPDX-License-Identifier: Apache-2.0
//
// Apache ActiveMQ Artemis with nothing but MQTT: Artemis.java PORT DIR. It keeps
// sessions and messages in DIR, says "ready", and runs until it is ended.
import org.apache.activemq.artemis.core.config.Configuration;
import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;
import org.apache.activemq.artemis.core.settings.impl.AddressFullMessagePolicy;
import org.apache.activemq.artemis.core.settings.impl.AddressSettings;

public class Artemis {
    public static void main(String[] args) throws Exception {
        String dir = args[1];
        Configuration configuration = new ConfigurationImpl()
            .setPersistenceEnabled(true)
            .setJournalDirectory(dir + "/journal")
            .setBindingsDirectory(dir + "/bindings")
            .setPagingDirectory(dir + "/paging")
            .setLargeMessagesDirectory(dir + "/large")
            .setSecurityEnabled(false)
            .addAcceptorConfiguration("mqtt",
                "tcp://127.0.0.1:" + args[0] + "?protocols=MQTT");
        // Nothing is dropped: what does not fit into memory goes to disk.
        configuration.addAddressSetting("#", new AddressSettings()
            .setAddressFullMessagePolicy(AddressFullMessagePolicy.PAGE)
            .setMaxSizeBytes(64L << 20));
        EmbeddedActiveMQ server = new EmbeddedActiveMQ().setConfiguration(configuration);
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                server.stop();
            } catch (Exception e) {
                System.err.println(e);
            }
        }));
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
