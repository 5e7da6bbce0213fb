// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Foundation

/// The programs with which auditd's trail is read: `ausearch` and `aureport` of /usr/sbin, `aulast` of /usr/bin.
public enum AuditTool {
    /// Whether they are installed.
    public static var arePresent: Bool {
        ["ausearch", "aureport", "aulast"].allSatisfy { FileManager.default.isExecutableFile(atPath: path($0)) }
    }

    /// What one prints, in the C locale and UTC; nothing found is no failure, but an end by a signal is one.
    public static func run(_ name: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path(name))
        process.arguments = arguments
        process.environment = ["LC_ALL": "C", "TZ": "UTC"]
        process.standardInput = FileHandle.nullDevice
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        guard process.terminationReason == .exit else { throw Ended(name: name, signal: process.terminationStatus) }
        return String(decoding: data, as: UTF8.self)
    }

    /// One that a signal ended.
    public struct Ended: Error, Sendable {
        let name: String
        let signal: Int32
    }

    private static func path(_ name: String) -> String {
        (name == "aulast" ? "/usr/bin/" : "/usr/sbin/") + name
    }
}
