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
    /// The channel to the monitor.
    static let monitor: Int32 = 3
    /// Front: to the auditor. Engine: to the loader. Auditor: the trail's directory.
    static let second: Int32 = 4
    /// Auditor: the kernel's audit records, where they can be had.
    static let third: Int32 = 5
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
        let monitor = try theirs.descriptor.duplicate(from: 64)
        let other = try second.duplicate(from: 64)
        let records = try third?.duplicate(from: 64)
        let null = try File.open("/dev/null", [File.Options(rawValue: 2)]).duplicate(from: 64)
        var arguments = [kind.program, kind.role]
        if let identity { arguments += ["--uid", String(identity.uid), "--gid", String(identity.gid)] }
        arguments += further
        var environment = ["PATH=/usr/bin:/bin", "SWIFT_BACKTRACE=enable=no"]
        if let zone = Process.environmentVariable("TZ") { environment.append("TZ=\(zone)") }
        let path = "\(directory)/\(kind.program)"
        switch try Process.fork() {
        case .child:
            Signals.reset()
            do {
                try null.place(at: 0)
                try null.place(at: 1)
                try monitor.place(at: HelperDescriptor.monitor)
                try other.place(at: HelperDescriptor.second)
                try records?.place(at: HelperDescriptor.third)
                Descriptor.closeAll(from: records == nil ? HelperDescriptor.third : HelperDescriptor.third + 1)
                throw Process.execute(
                    Array(path.utf8), arguments: arguments.map { Array($0.utf8) },
                    environment: environment.map { Array($0.utf8) })
            } catch {
                StandardError("portcullisd").say("cannot start \(path): \(error)")
                Process.exitNow(127)
            }
        case .parent(let pid):
            return Helper(
                kind: kind, process: try ProcessHandle(pid: pid), outbox: Outbox(ours),
                started: Clock.monotonicMilliseconds())
        }
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
