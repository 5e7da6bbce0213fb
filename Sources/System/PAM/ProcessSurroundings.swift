// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CPAM
internal import Glibc
public import Linux

/// What PAM's modules may not keep changed of the process that they run in.
///
/// Taken before the first of them runs. After each step the directory, umask, signals, timers, environment, limits and
/// the standard descriptors are put back, and children that a module did not wait for are ended: they hold copies of
/// every descriptor here. Threads, another root directory, and descriptors of the process's own that are not what they
/// were cannot be put back, and are a `Change`. Descriptors that a module leaves open stay (pam_systemd's is its session):
/// what runs later closes everything but its own.
///
/// INVARIANT: the process has one thread and no child that is waited for elsewhere, from the first step to the last.
@safe
public final class ProcessSurroundings {
    /// Something that a module changed and that cannot be put back.
    public struct Change: Error, Sendable, Hashable, CustomStringConvertible {
        /// What is wrong, for the record.
        public let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// An open file, by what no other one that is open has in common with it.
    private struct Identity: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    private static let umask: UInt32 = 0o077

    private var descriptors: [Int32: Identity]
    private let root: Identity?
    private let environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let limits: ResourceLimits.Snapshot
    private let children: Set<Int32>
    private let output: Descriptor?
    private let errors: Descriptor?
    private let null: Descriptor

    /// Takes them.
    ///
    /// - Parameter descriptors: numbers of which those that are open have to be the same open files after every step.
    public init(descriptors: some Sequence<Int32>) throws(PAMError) {
        var open: [Int32: Identity] = [:]
        for number in descriptors { open[number] = Self.identity(number) }
        self.descriptors = open
        root = Self.rootIdentity()
        children = Set(Children.ids())
        do throws(SystemError) {
            limits = try ResourceLimits.Snapshot()
            null = try File.open("/dev/null", [.writing])
            output = try Self.identity(1).map { _ throws(SystemError) in try Descriptor.duplicate(of: 1) }
            errors = try Self.identity(2).map { _ throws(SystemError) in try Descriptor.duplicate(of: 2) }
        } catch {
            throw PAMError(.start, .processChanged, text: "\(error)")
        }
        // SAFETY: the list is this object's, and freed with it.
        guard let copy = unsafe portcullis_environment_copy() else {
            throw PAMError(.start, .processChanged, text: "no memory")
        }
        // SAFETY: as above.
        unsafe environment = copy
    }

    deinit {
        // SAFETY: the list is this object's.
        unsafe portcullis_pam_environment_free(environment)
    }

    /// Takes in one more descriptor that has to be the same open file after every step from now on.
    public func keep(_ descriptor: Descriptor) {
        descriptors[descriptor.number] = Self.identity(descriptor.number)
    }

    /// Before a step: what modules print goes nowhere. It is no part of a log whose lines are ours.
    public func enter() {
        for number: Int32 in 1...2 { try? null.place(at: number) }
    }

    /// After a step.
    ///
    /// - Throws: what cannot be put back; the rest has been.
    public func restore() throws(Change) {
        // ORDER: limits first, or nothing could be opened. Best effort: a container may not raise again what a module
        // lowered, and then it is lower.
        try? limits.apply()
        endChildren()
        Signals.reset()
        Signals.ignore(Signals.Number.pipe)
        portcullis_timers_stop()
        Process.setUmask(Self.umask)
        try putBack(output, at: 1)
        try putBack(errors, at: 2)
        // SAFETY: the list is this object's.
        guard unsafe portcullis_environment_restore(environment) == 0 else { throw Change("no memory") }
        // No fork could take over the locks that they hold.
        guard let count = Process.threadCount() else { throw Change("its threads cannot be counted") }
        guard count == 1 else { throw Change("a module started threads") }
        guard (try? Process.changeDirectory(Array("/".utf8))) != nil, Self.rootIdentity() == root else {
            throw Change("a module changed the root directory")
        }
        guard descriptors.allSatisfy({ Self.identity($0.key) == $0.value }) else {
            throw Change("a module changed descriptors that are not its own")
        }
    }

    private func putBack(_ copy: Descriptor?, at number: Int32) throws(Change) {
        guard let copy else {
            close(number)
            return
        }
        guard (try? copy.place(at: number)) != nil else {
            throw Change("a module closed descriptors that are not its own")
        }
    }

    private func endChildren() {
        for pid in Children.ids() where !children.contains(pid) {
            Process.signal(pid, Signals.Number.kill)
            Children.reap(pid)
        }
    }

    private static func identity(_ number: Int32) -> Identity? {
        var status = stat()
        // SAFETY: fstat writes one local.
        guard unsafe fstat(number, &status) == 0 else { return nil }
        return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    private static func rootIdentity() -> Identity? {
        guard let status = try? File.status("/") else { return nil }
        return Identity(device: status.device, inode: status.inode)
    }
}
