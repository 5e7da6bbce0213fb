// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import LineLog
import Linux
import Logging
import Messages
import Policy
import PolicyLanguage
import Seccomp

/// The program portcullis-engine: confines itself, loads a policy, and answers until it is drained.
public enum EngineProgram {
    /// Where the monitor leaves the engine's channels.
    private enum Number {
        static let monitor: Int32 = 3
        static let loader: Int32 = 4
    }

    private static let usage: Int32 = 64
    private static let failure: Int32 = 70

    /// Runs the program and returns its exit status.
    ///
    /// Trusted on entry: the arguments and the descriptors 3 and 4, from the monitor. Nothing is read from either
    /// before the process has dropped to its own uid and can reach no file, no network and no other process.
    ///
    /// - Parameter arguments: `portcullis-engine [policy]`, then `--uid N --gid N` as root, and the directories that no
    ///   sandbox may open: `--state-directory D --runtime-directory D --policy-directory D`, absolute.
    public static func run(_ arguments: [String]) -> Int32 {
        let log = Logger(label: "portcullis-engine") { LineLogHandler(label: $0) }
        guard let options = EngineOptions(arguments.dropFirst()) else {
            log.error("usage: portcullis-engine [policy] [--uid UID --gid GID], started by portcullisd")
            return usage
        }
        guard hasSeededHashing(Process.environmentVariable) else {
            log.error("SWIFT_DETERMINISTIC_HASHING is set: strangers could aim at the tables of the policy's index")
            return usage
        }
        Process.setTitle("portcullis-engine [policy]")
        guard let first = Descriptor.inherited(Number.monitor), let second = Descriptor.inherited(Number.loader) else {
            log.error("descriptors 3 and 4 are to be channels to the monitor and the loader")
            return usage
        }
        // What ends the gateway's terminal or unit goes to the monitor, which drains this process.
        for signal in [
            Signals.Number.pipe, Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.terminate,
        ] {
            Signals.ignore(signal)
        }
        let monitor = Channel(first)
        do {
            let filter = try SystemCallFilter.helper(allowing: HelperCalls.engine)
            // ORDER: nothing here needs a file; the confinement comes before the first byte of either channel.
            try Confinement.enter(uid: options.identity.uid, gid: options.identity.gid, filter: filter)
            return try serve(monitor, loader: Channel(second), options.directories, log)
        } catch {
            log.critical("\(error)")
            return failure
        }
    }

    /// Whether tables of this process hash with a seed of its own; the monitor's clean environment leaves it so.
    static func hasSeededHashing(_ variable: (String) -> String?) -> Bool {
        variable("SWIFT_DETERMINISTIC_HASHING") == nil
    }

    private static func serve(
        _ monitor: Channel, loader: Channel, _ directories: GuardedDirectories, _ log: Logger
    ) throws -> Int32 {
        let load = PolicyLoad(compile: { try SystemCallFilter.compile($0) }, directories: directories)
        guard var engine = try start(monitor, loader: loader, load, log) else { return 1 }
        switch try engine.run() {
        case .monitorGone, .drained: return 0
        case .protocolError:
            log.error("the monitor broke the protocol")
            return failure
        }
    }

    /// Loads, tells the monitor, and gives what answers; nil where the policy has errors and the monitor knows.
    static func start(
        _ monitor: Channel, loader: Channel, _ load: PolicyLoad, _ log: Logger
    ) throws -> Engine? {
        var files = LoaderFiles(loader: loader, monitor: monitor)
        switch load.run(&files) {
        case .failed(let diagnostics, let errors):
            try monitor.send(EngineReport.failed(diagnostics: diagnostics, errors: errors).encoded())
            return nil
        case .prepared(let prepared):
            try monitor.send(EngineReport.settings(settings: prepared.settings).encoded())
            for (index, sandbox) in prepared.sandboxes.enumerated() {
                try monitor.send(EngineReport.sandbox(index: index, sandbox: sandbox).encoded())
            }
            let engine = try Engine(monitor: monitor, serving: prepared, log: log)
            try monitor.send(
                EngineReport.loaded(
                    revision: prepared.revision, rules: prepared.policy.rules.count,
                    sandboxes: prepared.sandboxes.count, warnings: prepared.warnings
                ).encoded())
            return engine
        }
    }
}

/// What the monitor says on the command line.
struct EngineOptions: Sendable {
    /// Whom to drop to.
    var identity: HelperIdentity
    /// What no sandbox may open; the defaults of portcullisd where it does not say.
    var directories = GuardedDirectories(state: "/var/lib/portcullis", runtime: "/run/portcullis")

    /// Reads the role and what follows; nil where that is nothing that the monitor gives.
    init?(_ arguments: some Collection<String>) {
        guard arguments.first == "[policy]" else { return nil }
        var rest = Array(arguments.dropFirst())[...]
        var others: [String] = []
        var named = directories
        while let option = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch option {
            case "--state-directory" where value.hasPrefix("/"): named.state = ByteText(value)
            case "--runtime-directory" where value.hasPrefix("/"): named.runtime = ByteText(value)
            case "--policy-directory" where value.hasPrefix("/"): named.policy = ByteText(value)
            default: others += [option, value]
            }
        }
        guard let identity = HelperIdentity(others) else { return nil }
        self.identity = identity
        directories = GuardedDirectories(state: named.state, runtime: named.runtime, policy: named.policy)
    }
}
