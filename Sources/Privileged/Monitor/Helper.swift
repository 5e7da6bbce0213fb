// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// The programs that the monitor supervises.
enum HelperKind: String, CaseIterable {
    case front
    case engine
    case auditor

    /// The program's file name.
    var program: String { "portcullis-\(rawValue)" }

    /// Its role, as ps shows it.
    var role: String {
        switch self {
        case .front: "[net]"
        case .engine: "[policy]"
        case .auditor: "[audit]"
        }
    }
}

/// Where a helper finds its descriptors: its side of docs/ARCHITECTURE.md, Channels.
enum HelperDescriptor {
    /// The first: the channel to the monitor. The second, 4: front's to the auditor, engine's to the loader, the auditor's
    /// directory of the trail. The third, 5: the kernel's audit records, for the auditor, where they can be had.
    static let first: Int32 = 3
}

/// A helper that runs.
struct Helper {
    let kind: HelperKind
    let process: ProcessHandle
    var outbox: Outbox
    /// When it was started, on the monotonic clock.
    let started: Int64

    /// Starts a helper's program.
    ///
    /// - Parameters:
    ///   - second: the descriptor at number 4.
    ///   - third: the descriptor at number 5; nil for none.
    ///   - identity: to whom the helper drops; nil where it keeps its ids.
    ///   - further: what stands behind on its command line.
    static func start(
        _ kind: HelperKind, in directory: String, second: Descriptor, third: Descriptor? = nil,
        identity: Identities.Identity?, arguments further: [String] = []
    ) throws -> Helper {
        let (ours, theirs) = try Channel.pair()
        // High copies first, so that placing one does not close another.
        var copies: [Descriptor] = []
        for descriptor in [theirs.descriptor, second] + (third.map { [$0] } ?? []) {
            copies.append(try descriptor.duplicate(from: 64))
        }
        let null = try File.open("/dev/null", [File.Options(rawValue: 2)]).duplicate(from: 64)
        var arguments = [kind.program, kind.role]
        if let identity { arguments += ["--uid", String(identity.uid), "--gid", String(identity.gid)] }
        arguments += further
        var environment = ["PATH=/usr/bin:/bin", "SWIFT_BACKTRACE=enable=no"]
        if let zone = Process.environmentVariable("TZ") { environment.append("TZ=\(zone)") }
        let path = "\(directory)/\(kind.program)"
        switch try Process.fork() {
        case .child:
            become(path, null: null, copies, arguments: arguments, environment: environment)
        case .parent(let pid):
            return Helper(
                kind: kind, process: try ProcessHandle(pid: pid), outbox: Outbox(ours),
                started: Clock.monotonicMilliseconds())
        }
    }

    /// The child: the descriptors in their places from `HelperDescriptor.first` on, no others, and the program.
    private static func become(
        _ path: String, null: Descriptor, _ descriptors: [Descriptor], arguments: [String], environment: [String]
    ) -> Never {
        Signals.reset()
        do {
            try null.place(at: 0)
            try null.place(at: 1)
            for (place, descriptor) in descriptors.enumerated() {
                try descriptor.place(at: HelperDescriptor.first + Int32(place))
            }
        } catch {
            StandardError("portcullisd").say("cannot start \(path): \(error)")
            Process.exitNow(127)
        }
        Descriptor.closeAll(from: HelperDescriptor.first + Int32(descriptors.count))
        let failure = Process.execute(
            Array(path.utf8), arguments: arguments.map { Array($0.utf8) },
            environment: environment.map { Array($0.utf8) })
        StandardError("portcullisd").say("cannot start \(path): \(failure)")
        Process.exitNow(127)
    }

    /// The directory that holds the helpers: this program's own, else /usr/lib/portcullis.
    static func directory() -> String {
        if let own = File.resolved(Array("/proc/self/exe".utf8)), let path = ByteText(own).text,
            let slash = path.lastIndex(of: "/")
        {
            let here = String(path[..<slash])
            if HelperKind.allCases.allSatisfy({ (try? File.status("\(here)/\($0.program)")) != nil }) { return here }
        }
        return "/usr/lib/portcullis"
    }
}
