// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import LineLog
import Linux
import Logging
import NIOCore
import NIOPosix
import Seccomp

/// The program `portcullis-front`: started by the monitor alone, with its channels at fixed numbers.
public enum FrontProgram {
    /// The numbers at which the monitor leaves front's channels.
    private enum Number {
        static let monitor: Int32 = 3
        static let auditor: Int32 = 4
    }

    /// Started wrongly.
    private static let usage: Int32 = 64
    /// A defect of ours, or a machine that cannot confine a helper.
    private static let failure: Int32 = 70

    /// Runs front until the monitor's channel ends. `arguments` is argv without the program's name.
    public static func run(_ arguments: [String]) -> Never {
        let log = Logger(label: "portcullis-front") { LineLogHandler(label: $0) }
        guard arguments.first == "[net]", let identity = HelperIdentity(arguments.dropFirst()) else {
            log.error("usage: portcullis-front [net] [--uid UID --gid GID], started by portcullisd")
            Process.exitNow(usage)
        }
        Process.setTitle("portcullis-front [net]")
        guard let monitor = Descriptor.inherited(Number.monitor), let auditor = Descriptor.inherited(Number.auditor)
        else {
            log.error("descriptors 3 and 4 are to be channels to the monitor and the auditor")
            Process.exitNow(usage)
        }
        var bounds = Front.Bounds()
        do {
            // ORDER: limits, then the confinement, then threads, and only then the first byte.
            // What ends the gateway's terminal or unit goes to the monitor, which drains front.
            for signal in [
                Signals.Number.pipe, Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.terminate,
            ] {
                Signals.ignore(signal)
            }
            let files = try ResourceLimits.raiseFiles()
            if !bounds.fit(descriptors: files) {
                log.notice("at most \(bounds.handshakes) handshakes at once: open descriptors are limited to \(files)")
            }
            let filter = try SystemCallFilter.helper(allowing: HelperCalls.front, threads: true)
            try Confinement.enter(uid: identity.uid, gid: identity.gid, filter: filter)
        } catch {
            log.critical("cannot be confined: \(error)")
            Process.exitNow(failure)
        }
        do {
            try serve(Linux.Channel(monitor), Linux.Channel(auditor), bounds, log)
        } catch {
            log.critical("\(error)")
        }
        Process.exitNow(failure)
    }

    private static func serve(
        _ monitor: Linux.Channel, _ auditor: Linux.Channel, _ bounds: Front.Bounds, _ log: Logger
    ) throws {
        let epoll = try Epoll()
        let eventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
        let watcher = try eventLoop.submit {
            let front = Front(
                eventLoop: eventLoop, monitor: monitor, auditor: auditor, epoll: epoll, bounds: bounds, log: log
            ) { why, isFailure in
                if isFailure { log.critical("\(why)") }
                Process.exitNow(isFailure ? failure : 0)
            }
            try front.start()
            return ChannelWatcher(front: front, epoll: epoll, eventLoop: eventLoop)
        }.wait()
        try watcher.run()
    }
}
