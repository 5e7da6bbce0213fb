// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// systemd may hold the sockets, and is told when the gateway serves.
@Suite("Under a service manager", .needsBuild)
struct ServiceManagerTests {
    /// Opens two sockets as systemd would, at descriptors 3 and 4, and becomes the gateway.
    private static let activation = """
        use Socket; use POSIX; $^F = 9;
        my ($address, $one, $two) = splice(@ARGV, 0, 3);
        for my $row ([3, $one], [4, $two]) {
            socket(my $s, PF_INET, SOCK_STREAM, 0) or die; setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
            bind($s, pack_sockaddr_in($row->[1], inet_aton($address))) or die "bind: $!"; listen($s, 64) or die;
            push @keep, $s;
            POSIX::dup2(fileno($s), $row->[0] + 20) or die;
        }
        POSIX::dup2(23, 3); POSIX::dup2(24, 4);
        @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 2, "rexec:rsh");
        exec @ARGV or die;
        """

    @Test func socketsThatAreOfferedByNameAreServed() throws {
        var setup = Gateway.Setup(Rules.words)
        // Other ports than the policy's own: what answers there was handed over.
        let address = IPAddress(v4: 0x7F4D_F900 | UInt32.random(in: 1...250))
        let ports: [UInt16] = Host.isRoot ? [512, 514] : [35_512, 35_514]
        setup.wrapper = ["/usr/bin/perl", "-e", Self.activation, "\(address)"] + ports.map { "\($0)" }
        try Gateway.with(setup) { gate throws in
            let socket = try Socket.connect(to: Endpoint(address: address, port: ports[0]))
            socket.send("\0\(Gateway.target)\0\(Gateway.password)\0/bin/echo x\0")
            #expect(socket.receive(count: 3) == [0, 0x78, 0x0A])
            #expect(gate.log.contains("\(address):\(ports[0])"), "\(gate.log)")
        }
    }

    @Test func theManagerIsToldWhenItServes() throws {
        let path = NSTemporaryDirectory() + "/portcullis-notify-" + UUID().uuidString
        defer { Files.remove(path) }
        let listen = """
            use Socket; socket(S, PF_UNIX, SOCK_DGRAM, 0) or die; bind(S, pack_sockaddr_un($ARGV[0])) or die "$!";
            $| = 1; while (defined recv(S, $m, 4096, 0)) { print "$m\n"; last if $m =~ /READY=1/ }
            """
        let manager = try Child("/usr/bin/perl", ["-e", listen, path])
        var setup = Gateway.Setup(Rules.words)
        setup.environment = ["NOTIFY_SOCKET": path]
        let deadline = Moment.now + 5_000
        while !Files.exists(path), Moment.now < deadline { Moment.sleep(10) }
        try Gateway.with(setup) { _ throws in
            let told = manager.finish(within: 10_000)
            #expect(told.outText.contains("READY=1"), "\(told)")
        }
    }
}
