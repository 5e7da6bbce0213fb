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
    /// A place, open.
    struct Place {
        let descriptor: Descriptor
        /// Where it is, without a link in it.
        let path: [UInt8]
        /// The links on the way.
        let links: [SecureOpen.FollowedLink]
    }

    /// The target's home; nil where there is none.
    private(set) var home: Place?
    /// What is written, executed and read. What lies in the home by its name is without links on the way to the home.
    private(set) var written: [Place] = []
    private(set) var executed: [Place] = []
    private(set) var read: [Place] = []

    /// Opens them.
    ///
    /// - Parameters:
    ///   - sandbox: whose they are.
    ///   - home: the target's home.
    ///   - uid: the target.
    ///   - closed: the gateway's own directories.
    ///   - isSkipped: whether a name, written or not, is not to be opened.
    /// - Throws: step `landlock`, ELOOP where a link leads where it must not: nothing runs.
    init(
        _ sandbox: Sandbox, home path: ByteText, uid: UInt32, closed: [ClosedDirectory],
        isSkipped: (_ name: ByteText, _ isWritten: Bool) -> Bool = { _, _ in false }
    ) throws(ConfinementError) {
        if let found = try SecureOpen.follow(path) {
            home = Place(descriptor: found.place, path: found.path, links: found.links)
        }
        func opened(_ paths: [Sandbox.Path], isWritten: Bool) throws(ConfinementError) -> [Place] {
            var places: [Place] = []
            for path in paths {
                switch path {
                case .absolute(let name):
                    guard !isSkipped(name, isWritten), let found = try SecureOpen.follow(name) else { continue }
                    places.append(Place(descriptor: found.place, path: found.path, links: found.links))
                case .home(let rest):
                    guard let home, let place = try Self.place(rest, in: home) else { continue }
                    places.append(place)
                }
            }
            return places
        }
        written = try opened(sandbox.write, isWritten: true)
        executed = try opened(sandbox.execute, isWritten: false)
        // What executing gives anyway is not opened twice.
        read = try opened(sandbox.read.filter { !sandbox.execute.contains($0) }, isWritten: false)
        let rules = LinkRules(owners: [0, uid], written: written.map(\.path), closed: closed)
        for place in written { try rules.check(place, isWritten: true) }
        for place in executed + read { try rules.check(place, isWritten: false) }
        if let home { try rules.check(home, isWritten: false) }
    }

    /// A place by its name below the home; nil where it is not there, or a link leads out of the home.
    private static func place(_ rest: ByteText, in home: Place) throws(ConfinementError) -> Place? {
        guard !rest.isEmpty else { return home }
        guard case .open(let descriptor) = try SecureOpen.place(rest, beneath: home.descriptor) else { return nil }
        guard let found = try SecureOpen.follow(ByteText(home.path + rest.bytes)),
            SecureOpen.isBelow(found.path, home.path),
            SecureOpen.identity(of: found.place) == SecureOpen.identity(of: descriptor)
        else { return nil }
        return Place(descriptor: found.place, path: found.path, links: found.links)
    }
}

/// Where links may lead.
private struct LinkRules {
    let owners: Set<UInt32>
    let written: [[UInt8]]
    let closed: [ClosedDirectory]

    func check(_ place: SandboxPlaces.Place, isWritten: Bool) throws(ConfinementError) {
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
        guard isAdmitted, !isClosed, place.path != [UInt8(ascii: "/")] else { throw ConfinementError(.landlock, ELOOP) }
    }
}
