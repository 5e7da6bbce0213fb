// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Testing

/// Another maker's server, under a small inetd, in namespaces of the test's own: a client and a server on one host would
/// use up each other's reserved ports, and the server sees the accounts of the test's gateway, which is not started.
final class OtherServer {
    /// Whose it is.
    enum Maker: String, CaseIterable {
        /// Debian's rsh-server.
        case netkit
        /// Debian's rsh-redone-server, which has no rexecd.
        case redone
    }

    /// Where the program for a service is; nil where it is not on this host.
    static func program(_ maker: Maker, _ name: String) -> String? {
        switch maker {
        case .netkit: return Host.program(name)
        case .redone:
            let path = Host.package + "/.build/tools/rsh-redone/usr/sbin/" + name
            return Files.exists(path) ? path : nil
        }
    }

    private let inetd: Child

    /// Starts it on 127.0.0.1 and ::1, the ports being the services' own.
    init(_ maker: Maker, _ gate: Gateway) throws {
        try gate.writeEtc("hosts", "127.0.0.1 localhost\n::1 localhost\n")
        try gate.writeEtc("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        let account = "account required pam_unix.so\nsession required pam_permit.so\n"
        try gate.writeEtc("pam.d/rsh", "auth required pam_rhosts.so\n" + account)
        try gate.writeEtc("pam.d/rexec", "auth required pam_unix.so\n" + account)
        try gate.writeRhosts(of: "alice", "localhost root\n")
        var served: [String] = []
        for (port, name) in [("514", "in.rshd"), ("512", "in.rexecd")] {
            if let path = Self.program(maker, name) { served += [port, path] }
        }
        let script = Host.package + "/Tests/RegressTests/Clients/inetd.pl"
        // In a process namespace too: what a server leaves behind ends with it.
        let namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"]
        let shell = ["/bin/sh", "-c", "mount --bind '\(gate.etc)' /etc && exec \"$@\"", "sh", "/usr/bin/perl", script]
        let inetd = try Child("/usr/bin/unshare", namespaces + shell + served)
        self.inetd = inetd
        let ready = gate.wait { inetd.outSoFar == "ready\n" || inetd.wait(within: 0) != .stillRunning }
        guard ready, inetd.outSoFar == "ready\n" else {
            throw HarnessError(description: "\(maker.rawValue)'s server did not start: \(inetd.errSoFar)")
        }
    }

    /// A client beside it.
    func client(
        _ program: String, _ words: [String], stdin: String = "/dev/null", environment: [String: String] = [:]
    ) throws -> Child {
        let place = ["--target", "\(inetd.pid)", "--mount", "--net", "--", program]
        return try Child("/usr/bin/nsenter", place + words, stdin: stdin, environment: environment)
    }

    /// Runs a client beside it to its end.
    func run(
        _ program: String, _ words: [String], stdin: String = "/dev/null", environment: [String: String] = [:]
    ) throws -> Child.Result {
        try client(program, words, stdin: stdin, environment: environment).finish()
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs another maker's server of a service.
    static func needsServer(_ maker: OtherServer.Maker, _ name: String = "in.rshd") -> Self {
        .enabled(
            if: OtherServer.program(maker, name) != nil && Host.has("unshare", "nsenter", "perl"),
            "\(maker.rawValue)'s \(name) is not here: scripts/dependencies test")
    }
}
