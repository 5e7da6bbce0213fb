// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Testing

/// A running gateway of a test's own: the release build's programs, a policy, directories and an address.
///
/// As root the gateway has a mount namespace of its own with accounts, PAM services and a hosts.equiv of the test's, so that
/// the host's are neither needed nor changed, and serves the real ports 512 and 514. As a plain user it serves high ports and
/// that user alone.
final class Gateway {
    /// The password of every account of a test, and its yescrypt hash (of the least cost, to be quick).
    static let password = "s3cret"
    private static let hash = "$y$j75$doorsalt12345678$Oce5t2i/MrBocY2mN7KsmlNP7adE69zk9/NOwUsXwf4"

    /// What a test's policy says besides its rules.
    struct Setup {
        var rules: String
        /// Statements before the services.
        var top = "securetcpip off"
        /// Items of the services; nil leaves the service out.
        var rexec: String? = "authenticate file \"credentials\""
        var rsh: String? = "trust rule\n    account none"
        var refusalDelay = "300ms"
        var audit = "kernel off"
        /// The address that is listened on, with ports of the test's own; nil for an address of its own instead, as root with
        /// the services' ports.
        var address: IPAddress?
        /// The services' ports with that address: for one test at a time.
        var atServicePorts = false
        /// Accounts without a line in the credentials file.
        var withoutCredentials: Set<String> = []
        /// Accounts for guest pools, each with a home that holds a file.
        var guests: [String] = []
        /// The uid of the first of them, for two gateways with the same; nil for one of this gateway's own.
        var firstGuest: uid_t?
        /// Shell commands run in the gateway's mount namespace before it starts, by root; `$DIR` is the test's directory.
        var mounts = ":"
        /// A program with its arguments that starts the gateway in its own place, with exec.
        var wrapper: [String] = []
        /// Variables of the gateway's environment.
        var environment: [String: String] = [:]
        /// Runs it as nobody, although the tests run as root.
        var asNobody = false
        /// The uid of that.
        var nobody: uid_t = 65_534

        init(_ rules: String) {
            self.rules = rules
        }
    }

    /// Accounts that every gateway run as root knows, besides those of Debian's base system.
    static let accounts = ["alice", "bob", "backup-operator"]

    let address: IPAddress
    let directory: String
    let setup: Setup
    private(set) var daemon: Child?
    private let ports: (rexec: UInt16, rsh: UInt16)
    /// The uid of the first guest. Whatever runs as a guest keeps other guests out: no two gateways have the same, but
    /// where a test wants it.
    private let firstGuest: uid_t

    /// In a folder of its own: no sandbox may write where the policy lies, and the homes are beside it.
    var policyPath: String { directory + "/policy/test.policy" }
    var state: String { directory + "/state" }
    var runtime: String { directory + "/run" }
    var trailPath: String { state + "/audit/trail.log" }
    var logPath: String { directory + "/log" }
    /// A home of one of the accounts.
    func home(_ account: String) -> String { directory + "/home/" + account }

    /// The account that commands run as: the test's own as root, this user otherwise.
    static let target = Host.isRoot ? "alice" : NSUserName()

    /// Runs a gateway for the time of a closure, and takes it away, whatever happens.
    static func with(_ setup: Setup, start: Bool = true, _ body: (Gateway) throws -> Void) throws {
        let gate = try Gateway(setup)
        defer { gate.remove() }
        do {
            if start { try gate.start() }
            try body(gate)
        } catch {
            gate.showLog()
            throw error
        }
        if Test.current?.name != nil, gate.hasFailed { gate.showLog() }
    }

    static func with(_ rules: String, _ body: (Gateway) throws -> Void) throws {
        try with(Setup(rules), body)
    }

    private var hasFailed = false

    /// Marks that the log is worth showing.
    func fail() { hasFailed = true }

    /// Client and gateway share a host here, so rcmd(3)'s way down from port 1023 soon comes to ports to which the gateway never
    /// connects back. Held for the life of the tests, they are passed over.
    private static let held: [Socket] = {
        guard Host.isRoot else { return [] }
        return ([587, 631, 636, 873] + Array(989...995)).compactMap { try? Socket.hold(port: $0) }
    }()

    private init(_ setup: Setup) throws {
        _ = Self.held
        self.setup = setup
        let number = Self.numbers.next()
        let fresh = IPAddress(v4: 0x7F4D_0000 | UInt32(getpid() % 250 + 1) << 8 | UInt32(number % 250 + 1))
        address = setup.address ?? fresh
        firstGuest = setup.firstGuest ?? uid_t(1_000_000 + Int(getpid()) % 10_000 * 1_000 + number % 100 * 10)
        let high = UInt16(20_000 + Int(getpid()) % 150 * 250 + number % 250)
        let usesRealPorts = Host.isRoot && (setup.address == nil || setup.atServicePorts) && !setup.asNobody
        ports = usesRealPorts ? (512, 514) : (high, high + 40)
        // Not below /tmp as root: a sandbox with a /tmp of its own would not see the homes.
        let base = Host.isRoot ? "/run" : FileManager.default.temporaryDirectory.path
        directory = "\(base)/portcullis-test-\(getpid())-\(number)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        Files.set(directory, mode: 0o755)
        for folder in [state, runtime, directory + "/policy"] { Files.makeDirectory(folder, mode: 0o711) }
        if Host.isRoot { try makeAccounts() }
        try writePolicy()
        try writeCredentials()
        guard setup.asNobody else { return }
        let given = [directory, state, runtime, directory + "/policy", policyPath, state + "/credentials"]
        for path in given {
            Files.setOwner(path, setup.nobody)
        }
    }

    /// Whether this gateway has root's rights.
    var isRoot: Bool { Host.isRoot && !setup.asNobody }

    private static let numbers = Counter()

    /// A command for the rule of `Rules.shell`, which may have to name the shell itself.
    func line(_ command: String) -> String {
        guard !Host.hasShell, setup.rules.contains("permit shell:") else { return command }
        return "/bin/sh -c '" + command.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }

    func endpoint(_ service: Service) -> Endpoint {
        Endpoint(address: address, port: service == .rexec ? ports.rexec : ports.rsh)
    }

    // MARK: - What it finds

    /// Writes the policy; a test changes rules with it before a reload.
    func writePolicy(rules: String? = nil, top: String? = nil) throws {
        var text = (top ?? setup.top) + "\n"
        for (service, items) in [(Service.rexec, setup.rexec), (.rsh, setup.rsh)] {
            guard let items else { continue }
            text += "service \(service.name) {\n    enable\n    listen \(endpoint(service))\n    \(items)\n"
            if service == .rsh, !isRoot, !items.contains("source-port") { text += "    source-port any\n" }
            text += "}\n"
        }
        text += "refusal {\n    delay \(setup.refusalDelay)\n}\naudit {\n    \(setup.audit)\n}\n"
        try Files.write(text + (rules ?? setup.rules) + "\n", to: policyPath, mode: 0o600)
    }

    private func writeCredentials() throws {
        let names = Host.isRoot ? Self.accounts + ["games", "nobody"] : [NSUserName()]
        let lines = names.filter { !setup.withoutCredentials.contains($0) }.map { "\($0):\(Self.hash)\n" }
        try Files.write(lines.joined(), to: state + "/credentials", mode: 0o600)
    }

    /// The uid of one of the accounts.
    static func uid(_ account: String) -> uid_t {
        uid_t(4_100 + (accounts.firstIndex(of: account) ?? 0))
    }

    /// The uid of one of the accounts for guest pools.
    func uid(ofGuest name: String) -> uid_t {
        firstGuest + uid_t(setup.guests.firstIndex(of: name) ?? 0)
    }

    /// The /etc that this gateway alone sees, as root.
    var etc: String { directory + "/etc" }

    private func makeAccounts() throws {
        try FileManager.default.copyItem(atPath: "/etc", toPath: etc)
        for file in ["hosts.equiv", "nologin"] { Files.remove(etc + "/" + file) }
        Files.makeDirectory(directory + "/home", mode: 0o755)
        var passwd = try String(contentsOfFile: "/etc/passwd", encoding: .utf8)
        var group = try String(contentsOfFile: "/etc/group", encoding: .utf8)
        var shadow = try String(contentsOfFile: "/etc/shadow", encoding: .utf8)
        for name in Self.accounts {
            let uid = Self.uid(name)
            passwd += "\(name):x:\(uid):\(uid):test:\(home(name)):/bin/sh\n"
            group += "\(name):x:\(uid):\n"
            shadow += "\(name):\(Self.hash):19000:0:99999:7:::\n"
            Files.makeDirectory(home(name), mode: 0o755, owner: uid)
        }
        for name in setup.guests {
            let uid = uid(ofGuest: name)
            passwd += "\(name):x:\(uid):\(uid):test:\(home(name)):/bin/sh\n"
            group += "\(name):x:\(uid):\n"
            shadow += "\(name):!:19000:0:99999:7:::\n"
            Files.makeDirectory(home(name), mode: 0o700, owner: uid)
            try Files.write("the host's", to: home(name) + "/before", mode: 0o644, owner: uid)
        }
        // An account that has expired, one whose password has, and one that is locked.
        passwd += "expired:x:4190:4190:test:/:/bin/sh\nstale:x:4191:4191:test:/:/bin/sh\n"
        group += "expired:x:4190:\nstale:x:4191:\noperators:x:4199:alice\n"
        shadow += "expired:\(Self.hash):19000:0:99999:7::19001:\nstale:\(Self.hash):0:0:99999:7:::\n"
        try Files.write(passwd, to: etc + "/passwd", mode: 0o644)
        try Files.write(group, to: etc + "/group", mode: 0o644)
        try Files.write(shadow, to: etc + "/shadow", mode: 0o600)
        for service in ["portcullis-rexec", "portcullis-rsh"] {
            let text = "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
            try Files.write(text, to: etc + "/pam.d/" + service, mode: 0o644)
        }
    }

    /// Puts a file below the /etc that the gateway alone sees.
    func writeEtc(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
        try Files.write(text, to: etc + "/" + name, mode: mode)
    }

    func removeEtc(_ name: String) { Files.remove(etc + "/" + name) }

    /// Writes an account's .rhosts.
    func writeRhosts(of account: String, _ text: String, mode: mode_t = 0o600) throws {
        try Files.write(text, to: home(account) + "/.rhosts", mode: mode, owner: Self.uid(account))
    }

    /// For the shell that puts the test's /etc over the host's, in the gateway's own mount namespace.
    private var mounts: String {
        let accounts = setup.asNobody ? ":" : "mount --bind '\(etc)' /etc"
        return "DIR='\(directory)' && \(accounts) && { \(setup.mounts); } && exec \"$@\""
    }

    // MARK: - Its life

    var daemonArguments: [String] {
        ["--policy", policyPath, "--state-directory", state, "--runtime-directory", runtime]
    }

    /// Starts it without waiting.
    func launch() throws {
        var program = Host.own("portcullisd")
        var arguments = daemonArguments
        if let first = setup.wrapper.first {
            arguments = setup.wrapper.dropFirst() + [program] + arguments
            program = first
        }
        if setup.asNobody {
            let ids = ["--reuid=\(setup.nobody)", "--regid=\(setup.nobody)", "--clear-groups", "--"]
            arguments = ids + [program] + arguments
            program = "/usr/bin/setpriv"
            Files.makeDirectory(directory + "/tmp", mode: 0o700, owner: setup.nobody)
        }
        if Host.isRoot, !setup.asNobody || setup.mounts != ":" {
            arguments =
                ["--mount", "--propagation", "private", "--", "/bin/sh", "-c", mounts, "sh", program] + arguments
            program = "/usr/bin/unshare"
        }
        var off = setup.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
        if setup.asNobody { off["TMPDIR"] = directory + "/tmp" }
        daemon = try Child(program, arguments, out: logPath, err: logPath, environment: off)
    }

    /// Starts it and waits for its ready line.
    func start() throws {
        let starts = readyLines
        try launch()
        let ready = wait { self.readyLines > starts || self.daemon?.wait(within: 0) != .stillRunning }
        guard ready, readyLines > starts else {
            throw HarnessError(description: "the gateway did not become ready:\n\(log)")
        }
    }

    private var readyLines: Int { log.split(separator: "\n").filter { $0.contains("ready:") }.count }

    var log: String { Files.text(logPath) }

    func showLog() {
        print("--- the gateway's log\n\(log)--- its trail\n\(trail.map(\.text).joined(separator: "\n"))\n---")
    }

    /// Ends it as TERM does.
    @discardableResult
    func stop(within milliseconds: Int = 20_000) -> Child.Outcome {
        daemon?.send(SIGTERM)
        return daemon?.wait(within: milliseconds) ?? .stillRunning
    }

    private func remove() {
        // SIGKILL would be no proof of a clean end, but a test that failed must leave nothing either.
        if daemon != nil, stop() == .stillRunning {
            Issue.record("the gateway did not end within 20 s of TERM")
            daemon?.send(SIGKILL)
            _ = daemon?.wait(within: 5_000)
        }
        if hasFailed { showLog() }
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: - What it shows

    /// Waits until something holds.
    @discardableResult
    func wait(within milliseconds: Int = 15_000, until condition: () -> Bool) -> Bool {
        let deadline = Moment.now + milliseconds
        while !condition() {
            guard Moment.now < deadline else { return false }
            Moment.sleep(10)
        }
        return true
    }

    /// The trail as it now is.
    var trail: [TrailLine] {
        Files.text(trailPath).split(separator: "\n").map { TrailLine(String($0)) }
    }

    /// The last record of a type for which something holds, waited for: some are written after the client is let go.
    func record(
        _ type: String, within milliseconds: Int = 15_000, where condition: (TrailLine) -> Bool = { _ in true }
    ) throws -> TrailLine {
        var found: TrailLine?
        wait(within: milliseconds) {
            found = trail.last { $0.type == type && condition($0) }
            return found != nil
        }
        guard let found else {
            hasFailed = true
            throw HarnessError(description: "no such \(type) record")
        }
        return found
    }

    /// The reason of the last refusal.
    func lastReason(after count: Int = 0) throws -> String? {
        try record("USER_LOGIN") { $0["res"] == "failed" && $0["reason"] != nil }["reason"]
    }

    /// The number of refusals recorded.
    var refusals: Int { trail.filter { $0.type == "USER_LOGIN" && $0["res"] == "failed" }.count }

    // MARK: - Its processes

    /// A process of the gateway's tree.
    struct Member {
        var pid: pid_t
        var parent: pid_t
        var uid: uid_t
        var arguments: String
    }

    /// Every process below the gateway's monitor, itself first.
    var members: [Member] {
        guard let monitor = daemon?.pid else { return [] }
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { pid_t($0) } ?? []
        let read = all.compactMap(Self.member)
        var found = read.filter { $0.pid == monitor }
        var open = [monitor]
        while let next = open.popLast() {
            let children = read.filter { $0.parent == next }
            found += children
            open += children.map(\.pid)
        }
        return found
    }

    /// The helper of a name: front, engine or auditor.
    func helper(_ name: String) -> Member? {
        members.first { $0.arguments.hasPrefix("portcullis-\(name)") }
    }

    private static func member(_ pid: pid_t) -> Member? {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return nil }
        var fields: [Substring: [Substring]] = [:]
        for line in status.split(separator: "\n") {
            let parts = line.split { $0 == ":" || $0 == "\t" || $0 == " " }
            if let name = parts.first { fields[name] = Array(parts.dropFirst()) }
        }
        guard let parent = fields["PPid"]?.first.flatMap({ pid_t($0) }),
            let uid = fields["Uid"]?.first.flatMap({ uid_t($0) })
        else { return nil }
        let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
        let arguments = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        return Member(pid: pid, parent: parent, uid: uid, arguments: arguments)
    }
}

/// A number a call.
final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0

    func next() -> Int {
        lock.withLock {
            value += 1
            return value
        }
    }
}
