// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
internal import Glibc

/// A directory that no link may lead a sandbox to.
public struct ClosedDirectory: Sendable, Hashable {
    /// Where it is, without a link in it.
    let path: [UInt8]
    /// Whether a sandbox may read it.
    let isReadable: Bool

    /// A directory of the gateway's, as it lies in the host's tree: looked up here, before a session is in its view.
    public init(_ path: ByteText, isReadable: Bool = false) {
        self.path = File.resolved(path.bytes) ?? SecureOpen.canonical(path.bytes)
        self.isReadable = isReadable
    }
}

/// The places that a sandbox names, opened with the target's rights.
///
/// TRUST: a name is the policy's author's, what links make of it need not be. A command that may write a directory can put a
/// link where the sandbox names something below it, and an account that owns one on the way can too. So
/// - a link counts where it is root's or the target's own;
/// - one that lies in a place that the sandbox writes leads to nothing outside that place;
/// - none leads to the root, nor to the gateway's own directories, against which the engine has held the names.
struct SandboxPlaces {
    /// One of them, and what may be done there.
    struct Entry {
        /// What the sandbox gives there.
        let rights: LandlockRights
        /// How the sandbox names it, with the home in place of `~`.
        let name: ByteText
        /// What that is; nil where it was not to be opened.
        let place: SecureOpen.Followed?
    }

    /// The target's home; nil where there is none. The root is nobody's home: it would be the whole host.
    private(set) var home: SecureOpen.Followed?
    /// What is written, executed and read, in this order. The name of what lies in the home begins with where the home is,
    /// without links; what is not there, or out of the target's reach, is left out.
    private(set) var entries: [Entry] = []

    /// Opens them.
    ///
    /// - Parameters:
    ///   - sandbox: whose they are.
    ///   - home: the target's home.
    ///   - uid: the target.
    ///   - closed: the gateway's own directories.
    ///   - isSkipped: whether a name is not to be opened.
    /// - Throws: step `landlock`, ELOOP where a link leads where it must not: nothing runs.
    init(
        _ sandbox: Sandbox, home path: ByteText, uid: UInt32, closed: [ClosedDirectory],
        isSkipped: (_ name: ByteText) -> Bool = { _ in false }
    ) throws(ConfinementError) {
        if let found = try SecureOpen.follow(path), found.path != SecureOpen.rootPath { home = found }
        entries.reserveCapacity(sandbox.write.count + sandbox.execute.count + sandbox.read.count)
        for path in sandbox.write { try add(path, .writing, isSkipped) }
        for path in sandbox.execute { try add(path, .executing, isSkipped) }
        // What executing gives anyway is not opened twice.
        for path in sandbox.read where !sandbox.execute.contains(path) { try add(path, .reading, isSkipped) }
        // By their names too: a place that somebody has taken away for a moment loosens nothing.
        let base = home.map { ByteText($0.path) } ?? path
        let names = sandbox.write.map { SecureOpen.canonical(Confinement.resolve($0, home: base).bytes) }
        let rules = LinkRules(owners: [0, uid], written: written.map(\.path) + names, closed: closed)
        for entry in entries {
            if let place = entry.place { try rules.check(place, isWritten: entry.rights == .writing) }
        }
        if let home { try rules.check(home, isWritten: false) }
    }

    /// What is written.
    var written: [SecureOpen.Followed] { entries.compactMap { $0.rights == .writing ? $0.place : nil } }

    private mutating func add(
        _ path: Sandbox.Path, _ rights: LandlockRights, _ isSkipped: (_ name: ByteText) -> Bool
    ) throws(ConfinementError) {
        switch path {
        case .absolute(let name):
            if isSkipped(name) {
                entries.append(Entry(rights: rights, name: name, place: nil))
            } else if let place = try SecureOpen.follow(name) {
                entries.append(Entry(rights: rights, name: name, place: place))
            }
        case .home(let rest):
            guard let home, let place = try Self.place(rest, in: home) else { return }
            entries.append(Entry(rights: rights, name: ByteText(home.path + rest.bytes), place: place))
        }
    }

    /// A place by its name below the home; nil where it is not there, or a link leads out of the home.
    private static func place(
        _ rest: ByteText, in home: SecureOpen.Followed
    ) throws(ConfinementError) -> SecureOpen.Followed? {
        guard !rest.isEmpty else { return home }
        guard case .open(let descriptor) = try SecureOpen.place(rest, beneath: home.place) else { return nil }
        guard let found = try SecureOpen.follow(ByteText(home.path + rest.bytes)),
            SecureOpen.isBelow(found.path, home.path),
            SecureOpen.identity(of: found.place) == SecureOpen.identity(of: descriptor)
        else { return nil }
        return found
    }
}

/// Where links may lead.
private struct LinkRules {
    /// (In a fork: no set.)
    let owners: [UInt32]
    let written: [[UInt8]]
    let closed: [ClosedDirectory]

    func check(_ place: SecureOpen.Followed, isWritten: Bool) throws(ConfinementError) {
        // The engine lets no sandbox name it.
        guard place.path != SecureOpen.rootPath else { throw ConfinementError(.landlock, ELOOP) }
        if place.links.isEmpty { return }
        let isAdmitted = place.links.allSatisfy { link in
            // What it lies in, most closely.
            let holder = written.filter { $0 != link.path && SecureOpen.isBelow(link.path, $0) }.max {
                $0.count < $1.count
            }
            return owners.contains(link.owner) && holder.map { SecureOpen.isBelow(place.path, $0) } ?? true
        }
        let isClosed = closed.contains { directory in
            if directory.isReadable, !isWritten { return false }
            return SecureOpen.isBelow(place.path, directory.path) || SecureOpen.isBelow(directory.path, place.path)
        }
        guard isAdmitted, !isClosed else { throw ConfinementError(.landlock, ELOOP) }
    }
}
