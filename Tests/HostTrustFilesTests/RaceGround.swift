// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Linux
import TestSupport

/// Where the race is run: a directory with a home in it, a decoy, and an attic for each hostile user.
///
/// The owner's own `.rhosts` never trusts 10.0.0.1, nor does anything that the owner puts in its place. Bytes that do
/// trust it exist in three sorts of file alone: the hostile users' own; the owner's while everybody may write them, which
/// the owner never takes back; and the decoy's, which is the owner's and nobody else's, but lies in another directory.
/// So no state, at any moment, justifies trusting 10.0.0.1.
final class RaceGround {
    /// Who may change entries beside the home.
    enum Parent: String, CaseIterable, Codable, Sendable {
        /// Root alone.
        case root
        /// Everybody, in a sticky directory, as in /tmp.
        case sticky
        /// The owner's group.
        case group
        /// A hostile user, whose directory it is.
        case hostile

        /// Whether a home there may be trusted at all.
        var canTrust: Bool { self == .root || self == .sticky }
    }

    static let owner = Credentials(uid: 61_111, gid: 61_112, groups: [61_112])
    /// Another user, one of the owner's group, and both at once on two processors.
    static let hostile = [
        Credentials(uid: 61_113, gid: 61_113, groups: [61_113]),
        Credentials(uid: 61_114, gid: 61_112, groups: [61_112]),
    ]

    private static let padding = String(repeating: "# " + String(repeating: "x", count: 60) + "\n", count: 30)
    static let good = "10.0.0.9 alice\n" + padding
    static let evil = "10.0.0.1 alice\n" + padding

    let root: String
    let parent: Parent
    var home: String { "\(root)/home" }
    var decoy: String { "\(root)/decoy" }
    /// Made when the race is over.
    var whistle: String { "\(root)/over" }

    init(_ parent: Parent) throws {
        self.parent = parent
        root = "/tmp/portcullis-race-\(Process.id)-\(UInt32.random(in: .min ... .max))"
        try directory(root, 0o755, Credentials(uid: 0, gid: 0, groups: []))
        try directory(home, 0o755, Self.owner)
        try directory(decoy, 0o755, Self.owner)
        try file("\(home)/.rhosts", Self.good, 0o600, Self.owner)
        try file("\(decoy)/.rhosts", Self.evil, 0o600, Self.owner)
        for user in Self.hostile {
            try directory(attic(user), 0o755, user)
            try directory("\(attic(user))/home", 0o755, user)
            try file("\(attic(user))/home/.rhosts", Self.evil, 0o644, user)
        }
        switch parent {
        case .root: break
        case .sticky: try File.setMode(root, 0o1777)
        case .group:
            try File.setOwner(try File.open(root, [.directory]), uid: 0, gid: Self.owner.gid)
            try File.setMode(root, 0o775)
        case .hostile:
            let user = Self.hostile[0]
            try File.setOwner(try File.open(root, [.directory]), uid: user.uid, gid: user.gid)
        }
    }

    deinit { Directory.removeTree(root) }

    func attic(_ user: Credentials) -> String { "\(root)/attic-\(user.uid)" }

    private func directory(_ path: String, _ mode: UInt32, _ user: Credentials) throws {
        try File.makeDirectory(path, mode: mode)
        try File.setOwner(try File.open(path, [.directory]), uid: user.uid, gid: user.gid)
        try File.setMode(path, mode)
    }

    private func file(_ path: String, _ text: String, _ mode: UInt32, _ user: Credentials) throws {
        let file = try File.open(path, [.writing, .creating, .exclusive, .noFollow])
        try file.writeAll(Array(text.utf8))
        try File.setOwner(file, uid: user.uid, gid: user.gid)
        try File.setMode(file, mode)
    }

    // MARK: - The users

    /// Runs moves as a user, in a process of its own, until the whistle; its text is how many succeeded.
    func start(
        _ user: Credentials, seed: UInt64, _ move: (inout SeededGenerator) -> Bool
    ) throws -> ForkedChild {
        let parent = Process.id
        return try ForkedChild {
            var random = SeededGenerator(seed: seed)
            var score = 0
            try user.drop()
            Process.setUmask(0o022)
            while Process.parentID == parent, (try? File.status(whistle)) == nil {
                if move(&random) { score += 1 }
            }
            return String(score)
        }
    }

    /// One move of the owner's, who is careless but never trusts 10.0.0.1.
    func ownersMove(_ random: inout SeededGenerator) -> Bool {
        // A new file, and by nobody opened before it is the owner's alone.
        let fresh = "\(home)/.new-\(random.next())"
        if let file = try? File.open(fresh, [.writing, .creating, .exclusive, .noFollow], mode: 0o600) {
            guard (try? file.writeAll(Array(Self.good.utf8))) != nil else { return false }
            try? File.rename(fresh, to: "\(home)/.rhosts")
        }
        pause(&random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
            // From now on everybody's; it is replaced, never taken back.
            guard let file = try? File.open("\(home)/.rhosts", [.noFollow, .nonBlocking]) else { return false }
            try? File.setMode(file, 0o666)
            pause(&random)
        case 1:
            guard let place = try? File.open(home, [.directory, .noFollow]) else { return false }
            try? File.setMode(place, 0o777)
            pause(&random)
            // What others left in it is theirs: the owner takes it away as `rm` would, and goes on.
            try? File.setMode(place, 0o755)
            pause(&random)
            try? File.remove("\(home)/.rhosts")
            _ = unsafe rmdir("\(home)/.rhosts")
        case 2 where parent != .root:
            try? File.rename(home, to: "\(root)/away")
            pause(&random)
            // A hostile user's home may be in the way for a moment.
            for _ in 0..<100 {
                if unsafe rename("\(root)/away", home) == 0 { break }
                pause(&random)
            }
        default:
            try? File.remove("\(home)/.rhosts")
        }
        return true
    }

    /// One move of a hostile user's; whether it did something.
    func hostileMove(_ user: Credentials, _ random: inout SeededGenerator) -> Bool {
        let target = "\(home)/.rhosts"
        let attic = attic(user)
        let staged = "\(attic)/staged"
        // Two that swap whole homes lose them to each other; a race needs one.
        if !parent.canTrust { _ = unsafe rename("\(root)/away", home) }
        switch Int.random(in: 0..<12, using: &random) {
        case 0, 1, 2:
            // Into whatever is there, if it may be written.
            guard let file = try? File.open(target, [.writing, .nonBlocking, .noFollow]) else { return false }
            return (try? file.writeAll(Array(Self.evil.utf8))) != nil
        case 3:
            // A FIFO may have stayed here from another move.
            _ = unsafe unlink(staged)
            guard let file = try? File.open(staged, [.writing, .creating, .exclusive]),
                (try? file.writeAll(Array(Self.evil.utf8))) != nil
            else { return false }
            return unsafe rename(staged, target) == 0
        case 4:
            _ = unsafe unlink(staged)
            let leads = Bool.random(using: &random) ? "\(attic)/home/.rhosts" : "\(decoy)/.rhosts"
            return unsafe symlink(leads, staged) == 0 && rename(staged, target) == 0
        case 5:
            _ = unsafe unlink(target)
            return unsafe link("\(decoy)/.rhosts", target) == 0 || link("\(attic)/home/.rhosts", target) == 0
        case 6:
            return unsafe link(target, "\(home)/.second-\(random.next() % 8)") == 0
        case 7:
            _ = unsafe unlink(staged)
            return unsafe mkfifo(staged, 0o666) == 0 && rename(staged, target) == 0
        case 8:
            _ = unsafe unlink(target)
            return unsafe mkdir(target, 0o755) == 0
        case 9:
            return plant(&random, attic)
        case 10:
            // The home away, a decoy of the owner's in its place, and back.
            guard unsafe rename(home, "\(root)/away") == 0 else { return false }
            _ = unsafe rename(decoy, home)
            pause(&random)
            _ = unsafe rename(home, decoy)
            _ = unsafe rename("\(root)/away", home)
            return true
        default:
            return unsafe chmod(target, 0o666) == 0 || chmod(home, 0o777) == 0
        }
    }

    /// A home of the hostile user's making, where there is none; gone again soon.
    private func plant(_ random: inout SeededGenerator, _ attic: String) -> Bool {
        // The gap is short: the first that tries in it wins.
        let kind = random.next() % 3
        switch kind {
        case 0:
            guard (0..<50).contains(where: { _ in unsafe rename("\(attic)/home", home) == 0 }) else { return false }
            pause(&random)
            _ = unsafe rename(home, "\(attic)/home")
            return true
        default:
            let leads = kind == 1 ? decoy : "\(attic)/home"
            guard (0..<50).contains(where: { _ in unsafe symlink(leads, home) == 0 }) else { return false }
            pause(&random)
            // A link is all that this can take away.
            _ = unsafe unlink(home)
            return true
        }
    }

    /// A moment that differs each time.
    private func pause(_ random: inout SeededGenerator) {
        if random.next() % 4 == 0 {
            sched_yield()
        } else {
            usleep(UInt32(random.next() % 200))
        }
    }
}
