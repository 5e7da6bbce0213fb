// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// The processes of a gateway, as something kills them.
enum Victim: String, CaseIterable, CustomStringConvertible {
    case monitor, front, engine, auditor, loader, spare, session
    /// The process 1 of a command's namespace.
    case initial = "init"
    /// The process that becomes the command, or is it.
    case command

    var description: String { rawValue }

    /// Those of a gateway that there are now, by the kernel's own tree.
    func processes(of gate: Gateway) -> [pid_t] {
        guard let monitor = gate.daemon?.pid else { return [] }
        if self == .monitor { return [monitor] }
        let children = Self.children(of: monitor)
        switch self {
        case .front, .engine, .auditor: return children.filter { Self.title($0).hasPrefix("portcullis-\(rawValue)") }
        case .loader, .spare, .session:
            return children.filter { Self.title($0).hasPrefix("portcullisd: \(rawValue)") }
        case .monitor, .initial, .command:
            let sessions = children.filter { Self.title($0).hasPrefix("portcullisd: session") }
            let inits = sessions.flatMap(Self.children)
            return self == .initial ? inits : inits.flatMap(Self.children)
        }
    }

    static func children(of pid: pid_t) -> [pid_t] {
        Files.text("/proc/\(pid)/task/\(pid)/children").split(separator: " ").compactMap { pid_t($0) }
    }

    static func title(_ pid: pid_t) -> String { Files.text("/proc/\(pid)/cmdline") }
}
