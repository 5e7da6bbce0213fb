// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
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

    /// The system calls of front: it uses what it is given. There is no socket, connect, bind or open among them.
    ///
    /// `listen` is NIO's, on listeners that are bound and listen already.
    static let systemCalls = HelperCalls.runtime + HelperCalls.channels + HelperCalls.connections + ["listen"]

    /// Runs front until the monitor's channel ends. `arguments` is argv without the program's name.
    public static func run(_ arguments: [String]) -> Never {
        // The handler of swift-log itself asks for the time zone's file at each line, which front may not open.
        LoggingSystem.bootstrap { LineLogHandler(label: $0) }
        let log = Logger(label: "portcullis-front")
        guard let options = Options(arguments) else {
            log.critical("usage: portcullis-front [net] [--uid UID --gid GID], started by portcullisd")
            Process.exitNow(64)
        }
        guard let monitor = Descriptor.inherited(Number.monitor), let auditor = Descriptor.inherited(Number.auditor)
        else {
            log.critical("descriptors 3 and 4 are to be channels to the monitor and the auditor")
            Process.exitNow(64)
        }
        var bounds = Front.Bounds()
        do {
            // ORDER: limits, then the confinement, then threads, and only then the first byte.
            Signals.ignore(Signals.Number.pipe)
            let files = try ResourceLimits.raiseFiles()
            if !bounds.fit(descriptors: files) {
                log.warning("\(files) open descriptors are few: at most \(bounds.handshakes) handshakes at once")
            }
            let filter = try SystemCallFilter.helper(allowing: systemCalls, threads: true)
            try Confinement.enter(uid: options.uid, gid: options.gid, filter: filter)
        } catch {
            log.critical("cannot be confined: \(error)")
            Process.exitNow(70)
        }
        do {
            try serve(Linux.Channel(monitor), Linux.Channel(auditor), bounds, log)
        } catch {
            log.critical("\(error)")
        }
        Process.exitNow(70)
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
                Process.exitNow(isFailure ? 70 : 0)
            }
            try front.start()
            return ChannelWatcher(front: front, epoll: epoll, eventLoop: eventLoop)
        }.wait()
        try watcher.run()
    }

    /// What the monitor says on the command line.
    struct Options: Equatable {
        var uid: UInt32?
        var gid: UInt32?

        /// Reads `[net]`, then, as root, `--uid UID --gid GID`; nil for anything else.
        init?(_ arguments: [String]) {
            guard arguments.first == "[net]" else { return nil }
            switch arguments.count {
            case 1:
                break
            case 5:
                guard arguments[1] == "--uid", let uid = UInt32(arguments[2]), arguments[3] == "--gid",
                    let gid = UInt32(arguments[4]), uid != 0, gid != 0
                else { return nil }
                self.uid = uid
                self.gid = gid
            default:
                return nil
            }
        }
    }
}
