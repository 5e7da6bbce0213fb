// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Foundation
import Linux
import Testing

/// A directory that is removed with its last owner.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("portcullis-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Writes a file below it.
    func write(_ bytes: [UInt8], to name: String) throws {
        let place = URL(fileURLWithPath: path + "/" + name)
        try FileManager.default.createDirectory(
            at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: place)
    }

    /// Reads a file below it.
    func read(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path + "/" + name) ?? Data(), as: UTF8.self)
    }
}

/// The program `portcullis` as people run it.
final class CommandRun {
    private let process = Foundation.Process()
    private let output = Pipe()
    /// Holds the file of standard error: what is printed there does not wait until the other was read.
    private let place: TemporaryDirectory

    /// What came of a run.
    struct Result {
        var status: Int32
        var output: String
        var error: String

        /// The JSON on standard output.
        var json: Any? {
            get throws { try JSONSerialization.jsonObject(with: Data(output.utf8), options: .fragmentsAllowed) }
        }
    }

    /// Where it is.
    static func program() throws -> URL {
        let own = try #require(File.resolved(Array("/proc/self/exe".utf8)))
        let directory = URL(fileURLWithPath: String(decoding: own, as: UTF8.self)).deletingLastPathComponent()
        return directory.appendingPathComponent("portcullis")
    }

    /// Starts it.
    ///
    /// - Parameter program: nil for `portcullis`.
    init(
        _ arguments: [String], input: String = "", environment: [String: String] = [:], program: String? = nil
    ) throws {
        place = try TemporaryDirectory()
        try place.write([], to: "error")
        let error = try #require(FileHandle(forWritingAtPath: place.path + "/error"))
        process.executableURL = try program.map { URL(fileURLWithPath: $0) } ?? Self.program()
        process.arguments = arguments
        process.environment = ["TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"].merging(environment) { $1 }
        process.standardOutput = output
        process.standardError = error
        let pipe = Pipe()
        process.standardInput = pipe
        try process.run()
        try pipe.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try pipe.fileHandleForWriting.close()
    }

    /// Kills it.
    func kill() {
        Linux.Process.signal(process.processIdentifier, Signals.Number.kill)
    }

    /// Waits for its end.
    func result() throws -> Result {
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return Result(
            status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
            error: place.read("error"))
    }
}

/// Runs it to its end.
func portcullis(_ arguments: String..., input: String = "") throws -> CommandRun.Result {
    try CommandRun(arguments, input: input).result()
}
