// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
//
// Apache Commons Net's two clients: CommonsNet rexec|rsh HOST PORT USER PASSWORD-OR-REMOTE-USER COMMAND apart|together
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import org.apache.commons.net.bsd.RCommandClient;
import org.apache.commons.net.bsd.RExecClient;

public class CommonsNet {
    private static void copy(InputStream from, OutputStream to) throws Exception {
        if (from != null) from.transferTo(to);
        to.flush();
    }

    public static void main(String[] words) throws Exception {
        boolean apart = words[6].equals("apart");
        RExecClient client = words[0].equals("rsh") ? new RCommandClient() : new RExecClient();
        client.setRemoteVerificationEnabled(true);
        client.setConnectTimeout(10000);
        InetAddress host = InetAddress.getByName(words[1]);
        int port = Integer.parseInt(words[2]);
        if (client instanceof RCommandClient) {
            // Its short form binds to the host's own name, which need not be a loopback address.
            ((RCommandClient) client).connect(host, port, InetAddress.getByName("127.0.0.1"));
        } else {
            client.connect(host, port);
        }
        client.setSoTimeout(30000);
        try {
            if (client instanceof RCommandClient) {
                ((RCommandClient) client).rcommand(words[4], words[3], words[5], apart);
            } else {
                client.rexec(words[3], words[4], words[5], apart);
            }
        } catch (java.io.IOException refusal) {
            System.err.println(refusal.getMessage());
            System.exit(1);
        }
        if (apart) copy(client.getErrorStream(), System.err);
        copy(client.getInputStream(), System.out);
        client.disconnect();
    }
}
