// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Logging
import Messages
import Seccomp

/// The program portcullis-engine: confines itself, loads one policy, and answers until it is replaced.
public enum EngineProgram {
    /// The channel to the monitor.
    static let monitorDescriptor: Int32 = 3
    /// The channel to the loader.
    static let loaderDescriptor: Int32 = 4

    /// The system calls of the engine: it reads what it is given, thinks, and answers. There is no open among them.
    static let systemCalls = HelperCalls.runtime + HelperCalls.channels + HelperCalls.compiling

    /// Runs the program and returns its exit status.
    ///
    /// Trusted on entry: the arguments and the descriptors 3 and 4, from the monitor. Nothing is read from either before
    /// the process has dropped to its own uid, and can reach no file and no network.
    ///
    /// - Parameter arguments: `portcullis-engine [policy] [--uid N --gid N]`.
    public static func run(_ arguments: [String]) -> Int32 {
        let log = Logger(label: "portcullis-engine") { StreamLogHandler.standardError(label: $0) }
        guard let identity = HelperIdentity(arguments.dropFirst(2)) else {
            log.error("started wrongly: portcullisd starts it")
            return 64
        }
        guard let monitor = Descriptor.inherited(monitorDescriptor),
            let loader = Descriptor.inherited(loaderDescriptor)
        else {
            log.error("descriptors 3 and 4 are not open: portcullisd starts this program")
            return 64
        }
        for signal in [
            Signals.Number.pipe, Signals.Number.hangup, Signals.Number.interrupt, Signals.Number.terminate,
        ] {
            Signals.ignore(signal)
        }
        do {
            let filter = try SystemCallFilter.helper(allowing: systemCalls)
            try Confinement.enter(uid: identity.uid, gid: identity.gid, filter: filter)
            return try Engine(monitor: Channel(monitor), log: log).run(loader: Channel(loader))
        } catch {
            log.critical("\(error)")
            return 70
        }
    }
}
