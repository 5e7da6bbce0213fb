// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Foundation
import Glibc
import Linux
import Testing

/// Whether the tests run as root; those that need it say so where they are skipped.
func geteuidIsRoot() -> Bool { geteuid() == 0 }

/// The account that tests drop to: nobody, which owns nothing.
let nobody: UInt32 = 65_534

/// A directory of a test's own, removed when the test lets go of it.
final class SandboxPlace: Sendable {
    let path: String

    /// - Parameter parent: where; `/var/tmp` is on the disk and stays in sight of a session.
    init(in parent: String = "/tmp") throws {
        let path = "\(parent)/portcullis-sandbox-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
        self.path = path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of an entry.
    func at(_ name: String) -> String { path + "/" + name }

    /// The path of an entry, as bytes.
    func bytes(_ name: String = "") -> ByteText { ByteText(name.isEmpty ? path : at(name)) }

    @discardableResult
    func directory(_ name: String, mode: Int = 0o755, owner: UInt32? = nil) throws -> String {
        try FileManager.default.createDirectory(atPath: at(name), withIntermediateDirectories: true)
        try set(name, mode: mode, owner: owner)
        return at(name)
    }

    @discardableResult
    func file(_ name: String, _ text: String = "", mode: Int = 0o644, owner: UInt32? = nil) throws -> String {
        #expect(FileManager.default.createFile(atPath: at(name), contents: Data(text.utf8)))
        try set(name, mode: mode, owner: owner)
        return at(name)
    }

    @discardableResult
    func link(_ name: String, to target: String) throws -> String {
        try FileManager.default.createSymbolicLink(atPath: at(name), withDestinationPath: target)
        return at(name)
    }

    func set(_ name: String, mode: Int, owner: UInt32? = nil) throws {
        try perform("fchmodat", [-100, .text(at(name)), .number(UInt64(mode))])
        if let owner { try own(name, owner) }
    }

    /// Gives an entry away; a link itself, not what it leads to.
    func own(_ name: String, _ owner: UInt32) throws {
        let id = SystemCallTrial.Argument.number(UInt64(owner))
        try perform("fchownat", [-100, .text(at(name)), id, id, 0x100])
    }

    /// Opens a directory or file, for a test to hold.
    func open(_ name: String = "") throws -> Descriptor {
        try File.open(name.isEmpty ? path : at(name), .reading)
    }
}

extension SystemCallTrial.Argument {
    /// The address of a text's bytes and a NUL.
    static func text(_ text: String) -> Self { .bytes(Array(text.utf8) + [0]) }
}

/// Makes a system call for a test, in a process of its own; it must succeed.
func perform(_ name: String, _ arguments: [SystemCallTrial.Argument]) throws {
    guard case .returned = try SystemCallTrial().call(try number(name), arguments) else {
        Issue.record("\(name) failed")
        return
    }
}
