// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import LineLog
import Linux
import Logging
import Messages
import Seccomp
import TrailCrypto

/// The program portcullis-auditor: confines itself, and keeps the trail until the monitor says stop or goes away.
public enum AuditorProgram {
    /// The channel to the monitor.
    static let monitorDescriptor: Int32 = 3
    /// The directory of the trail, STATE/audit.
    static let directoryDescriptor: Int32 = 4

    /// The kernel's audit records; not open where they cannot be had.
    static let kernelDescriptor: Int32 = 5

    /// A usage error: the monitor started it wrongly, or somebody else did.
    static let usage: Int32 = 64
    /// A defect of ours, or a machine that cannot confine a helper.
    static let failure: Int32 = 70

    /// Runs the program and returns its exit status.
    ///
    /// Trusted on entry: the arguments and the descriptors 3 and 4, from the monitor. Nothing is read from descriptor 3
    /// before the process has dropped to its own uid, and can reach no file but those below descriptor 4.
    ///
    /// - Parameter arguments: `portcullis-auditor [audit] [--uid N --gid N]`.
    public static func run(_ arguments: [String]) -> Int32 {
        let log = Logger(label: "portcullis-auditor") { LineLogHandler(label: $0) }
        guard let identity = HelperIdentity(arguments.dropFirst(2)) else {
            log.error("started wrongly: portcullisd starts it")
            return usage
        }
        Process.setTitle("portcullis-auditor [audit]")
        guard let channel = Descriptor.inherited(monitorDescriptor),
            let directory = Descriptor.inherited(directoryDescriptor)
        else {
            log.error("descriptors 3 and 4 are not open: portcullisd starts this program")
            return usage
        }
        let kernel = Descriptor.inherited(kernelDescriptor)
        // What ends the gateway's terminal or unit goes to the monitor, which says stop when the trail is complete; a
        // file that has grown over a limit is a failed write.
        for signal in [
            Signals.Number.pipe, Signals.Number.fileSize, Signals.Number.hangup, Signals.Number.interrupt,
            Signals.Number.terminate,
        ] {
            Signals.ignore(signal)
        }
        let monitor = Channel(channel)
        do {
            let gateway = try gateway(at: monitor)
            let hostName = Resolver.ownName()?.text ?? ""
            // Its lines for syslog have local time.
            Clock.warm()
            let filter = try SystemCallFilter.helper(allowing: HelperCalls.auditor)
            // ORDER: everything that needs a file elsewhere is done; from here on there is STATE/audit alone.
            try Confinement.enter(
                uid: identity.uid, gid: identity.gid,
                directories: [(directory, .writing)], filter: filter)
            let auditor = try Auditor(
                monitor: monitor, directory: directory, kernel: kernel, gateway: gateway, hostName: hostName,
                digest: sha256, time: Auditor.Time(), log: log)
            return try auditor.run()
        } catch {
            log.critical("\(error)")
            return failure
        }
    }

    /// The monitor, as the lines of what has no session name it.
    private static func gateway(at monitor: Channel) throws(SystemError) -> Sender {
        let peer = try monitor.peer()
        // The auditor is the monitor's child and has its login uid and audit session.
        return Sender(
            pid: peer.pid, uid: peer.uid, auid: number("/proc/self/loginuid"), ses: number("/proc/self/sessionid"),
            executable: ByteText(File.resolved(Array("/proc/\(peer.pid)/exe".utf8)) ?? Array("portcullisd".utf8)))
    }

    private static func number(_ path: String) -> UInt32 {
        guard let file = try? File.open(path, [.reading]), let bytes = try? file.read(32) else { return .max }
        let digits = bytes.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return UInt32(String(decoding: digits, as: UTF8.self)) ?? .max
    }
}
