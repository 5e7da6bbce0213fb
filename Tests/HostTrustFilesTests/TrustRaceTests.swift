// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import HostTrustFiles
import Linux
import TestSupport
import Testing
import Trust

/// Hostile local users change files, links, modes and directories while a session judges them.
///
/// What could go wrong: bytes that somebody else wrote are trusted, because what was checked is not what was read. It
/// would show as one verdict that trusts 10.0.0.1, which nothing in `RaceGround` ever justifies. The test looked when the
/// hostile users' moves succeeded, and when 10.0.0.9, whom the owner does trust, was trusted now and then.
///
/// Two thousand verdicts each by default; `PORTCULLIS_RACE_SECONDS=60` races so long.
@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it acts as several users"))
struct TrustRaceTests {
    /// What the judge saw.
    private struct Outcome {
        var verdicts = 0
        var good = 0
        var evil: String?
    }

    private static let seconds = Process.environmentVariable("PORTCULLIS_RACE_SECONDS").flatMap { Int64($0) }

    @Test(arguments: RaceGround.Parent.allCases)
    func whatHostileUsersSwapMeanwhileIsNeverTrusted(parent: RaceGround.Parent) async {
        await #expect(processExitsWith: .exitCode(0)) { [parent = parent as RaceGround.Parent] in
            try TrustRaceTests.race(parent)
        }
    }

    /// A race, in an exit test.
    private static func race(_ parent: RaceGround.Parent) throws {
        let ground = try RaceGround(parent)
        let seed: UInt64 = .random(in: .min ... .max)
        var users = [try ground.start(RaceGround.owner, seed: seed) { ground.ownersMove(&$0) }]
        defer { withExtendedLifetime(ground) { users.removeAll() } }
        for (index, user) in RaceGround.hostile.enumerated() {
            users.append(
                try ground.start(user, seed: seed &+ UInt64(index) &+ 1) { ground.hostileMove(user, &$0) })
        }
        let outcome = try judge(ground)
        _ = try File.open(ground.whistle, [.writing, .creating])
        let scores = try users.map { try Int($0.text()) ?? 0 }

        #expect(outcome.evil == nil, "seed \(seed): trusted by \(outcome.evil ?? "")")
        #expect(
            scores[0] > 0 && scores.dropFirst().contains { $0 > 0 },
            "moves of the owner and the hostile users: \(scores)")
        if parent.canTrust {
            #expect(outcome.good > 0, "in \(outcome.verdicts) verdicts nobody was trusted")
        } else {
            #expect(outcome.good == 0, "a home was trusted that others can swap")
        }
        if seconds != nil {
            print("race, parent \(parent): \(outcome.verdicts) verdicts, \(outcome.good) trusted, moves \(scores)")
        }
    }

    /// Asks again and again, in a process of its own: the judge's ids change while it reads.
    private static func judge(_ ground: RaceGround) throws -> Outcome {
        let alice = try #require(UserName("alice"))
        let claims = [UInt32(0x0A00_0001), 0x0A00_0009].map {
            HostTrust.Claim(
                peer: Endpoint(address: IPAddress(v4: $0), port: 1_023), remoteUser: alice, localUser: alice,
                isSuperuser: false, permitNamesRoot: false)
        }
        let files = TrustFiles(names: .refuse, hostsEquiv: ByteText("\(ground.root)/hosts.equiv"))
        let text = try inChild {
            let outcome = judged(claims, files, ground)
            return "\(outcome.verdicts) \(outcome.good) \(outcome.evil ?? "")"
        }
        let words = text.split(separator: " ", maxSplits: 2).map(String.init)
        try #require(words.count >= 2, "the judge died: \(text)")
        return Outcome(
            verdicts: Int(words[0]) ?? 0, good: Int(words[1]) ?? 0, evil: words.count > 2 ? words[2] : nil)
    }

    private static func judged(_ claims: [HostTrust.Claim], _ files: TrustFiles, _ ground: RaceGround) -> Outcome {
        var outcome = Outcome()
        let end = Clock.monotonicMilliseconds() + (seconds ?? 0) * 1_000
        while outcome.evil == nil {
            for claim in claims {
                let verdict = files.verdict(claim, home: ByteText(ground.home), credentials: RaceGround.owner)
                outcome.verdicts += 1
                guard verdict.isTrusted else { continue }
                if claim == claims[0] { outcome.evil = verdict.detail } else { outcome.good += 1 }
            }
            if seconds != nil {
                if Clock.monotonicMilliseconds() >= end { break }
            } else if outcome.verdicts >= 2_000, outcome.good > 0 || !ground.parent.canTrust {
                break
            }
            // A control that never trusts fails above, and not by hanging.
            if seconds == nil, outcome.verdicts >= 100_000 { break }
        }
        return outcome
    }
}

/// The second look, move by move.
@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: it gives files away")) struct SecondLookTests {
    /// What the owner or somebody else does between check and reading.
    enum Change: CaseIterable, Sendable {
        case nothing, mode, owner, link, contents, homeMode, homeOwner
    }

    @Test(arguments: Change.allCases)
    func whatChangedBetweenCheckAndReadingIsNotTrusted(change: Change) throws {
        let home = try TestHome()
        try home.write(home.rhosts, "10.0.0.1 alice\n")
        let place = try SecureOpen.home(ByteText(home.home), of: TestHome.uid)
        let file = try SecureOpen.trustFile(named: ".rhosts", inHome: place.descriptor, of: TestHome.uid)
        switch change {
        case .nothing: break
        case .mode: try File.setMode(home.rhosts, 0o666)
        case .owner: try File.setOwner(try File.open(home.rhosts, [.reading]), uid: 61_103, gid: 0)
        case .link: try home.run("/usr/bin/ln", [home.rhosts, "\(home.home)/second"])
        case .contents: try home.write(home.rhosts, "10.0.0.2 alice\n10.0.0.1 alice\n")
        case .homeMode: try File.setMode(home.home, 0o770)
        case .homeOwner: try File.setOwner(try File.open(home.home, [.directory]), uid: 61_103, gid: 0)
        }
        let read = { try SecureOpen.readUnchanged(file, in: place, limit: SecureOpen.trustFileLimit) }
        if change == .nothing {
            #expect(try read() == Array("10.0.0.1 alice\n".utf8))
        } else {
            let refusal = #expect(throws: SecureOpen.Refusal.self) { try read() }
            #expect(refusal?.reason == .changed)
        }
    }
}
