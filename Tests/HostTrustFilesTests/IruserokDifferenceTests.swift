// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import TestSupport
import Testing
import Trust

/// Random files and requests, judged by this machine's iruserok_af(3) and by us: where the two differ, one of the
/// intended differences below must be the reason, and each of them must be one.
///
/// An intended difference speaks of the files and the request, and never of what our parser said of them: else a parser
/// that rejects too much would excuse itself.
@Suite(.serialized, .enabled(if: Process.isRoot, "needs root: iruserok(3) reads /etc, here one of the test's own"))
struct IruserokDifferenceTests {
    @Test func whereWeDifferFromTheCLibraryIsIntended() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let seed: UInt64 = .random(in: .min ... .max)
            let report = try inChild { try IruserokDifferenceTests.compare(try PrivateHost(), seed: seed) }
            let lines = report.split(separator: "\n").map(String.init)
            let unnamed = lines.filter { $0.hasPrefix("unnamed") || $0.hasPrefix("not") }
            #expect(unnamed.isEmpty, "seed \(seed): \(unnamed)")
            // Agreement on nothing but refusals would be a test that did not look.
            #expect(lines.contains("both trust") && lines.contains("both refuse"), "seed \(seed)")
        }
    }

    private static func compare(_ host: PrivateHost, seed: UInt64) throws -> String {
        var random = SeededGenerator(seed: seed)
        var seen: Set<String> = []
        var unnamed: [String] = []
        for difference in IntendedDifference.all {
            try host.write(difference.example)
            let theirs = host.asksTheCLibrary(difference.example)
            let ours = host.asksUs(difference.example)
            let reasons = IntendedDifference.all.filter { $0.explains(difference.example, theirs) }
            if theirs == ours.isTrusted || reasons.map(\.name) != [difference.name] {
                unnamed.append("not a difference by itself: \(difference.name): \(theirs), \(ours)")
            }
        }
        for round in 0..<6_000 where unnamed.count < 5 {
            let question = Question(&random)
            try host.write(question)
            let theirs = host.asksTheCLibrary(question)
            let ours = host.asksUs(question)
            guard theirs != ours.isTrusted else {
                seen.insert(theirs ? "both trust" : "both refuse")
                continue
            }
            let reasons = IntendedDifference.all.filter { $0.explains(question, theirs) }
            if reasons.isEmpty {
                let text = "\(question) theirs \(theirs) ours \(ours)".replacing("\n", with: "\\n")
                unnamed.append("unnamed \(round): \(text)")
            }
        }
        return (seen.sorted() + unnamed).joined(separator: "\n")
    }
}

/// Two files and who asks.
struct Question: CustomStringConvertible {
    /// What is odd about a file, its contents aside.
    enum Oddity: CaseIterable {
        case none, writable, foreign, linked, openHome
    }

    var equiv: String?
    var rhosts: String?
    var oddity = Oddity.none
    var address = IPAddress(v4: 0x0A00_0001)
    var remoteUser = "alice"
    var isSuperuser = false
    var names = ServiceSettings.Names.refuse

    var localUser: String { isSuperuser ? "root" : "alice" }
    /// The texts that are read for this request.
    var texts: [String] { [isSuperuser ? nil : equiv, rhosts].compactMap(\.self) }
    var lines: [Substring] { texts.flatMap { $0.split(whereSeparator: \.isNewline) } }
    /// The fields of each line, as the C library splits them.
    var fields: [[Substring]] {
        lines.map { $0.split { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\r\n" } }
    }

    var description: String {
        "equiv \(equiv ?? "-") rhosts \(rhosts ?? "-") \(oddity) \(address) \(remoteUser) as \(localUser) \(names)"
    }

}

extension Question {
    private static let plainHosts = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "build", "BUILD", "other"]
    private static let oddHosts = [
        "+", "-", "+@ng", "-@ng", "+10.0.0.1", "012.0.0.1", "10.1", "0x0a000001", "167772161", "::ffff:10.0.0.1",
        "2001:DB8::1", "fe80::1", "nosuch", "10.0.0.1#x", "10.0.0.1/8", "#10.0.0.1", " 10.0.0.1", "\t", " # x",
    ]
    private static let plainUsers = ["", "", "alice", "bob", "root", "-alice", "-bob"]
    private static let oddUsers = [
        "+", "-", "+@ng", "-@ng", "+alice", "#alice", "alice #x", "alice x", "Alice", "b\u{7}",
    ]

    /// A random one, mostly of the grammar that both know.
    init(_ random: inout SeededGenerator) {
        self.init()
        func chance(_ one: Int) -> Bool { random.next() % UInt64(one) == 0 }
        func text() -> String? {
            guard !chance(4) else { return nil }
            var text = ""
            for _ in 0..<random.next() % 4 {
                var host = (chance(8) ? Self.oddHosts : Self.plainHosts).randomElement(using: &random) ?? ""
                if chance(5), !host.hasPrefix("-") { host = "-" + host }
                let user = (chance(12) ? Self.oddUsers : Self.plainUsers).randomElement(using: &random) ?? ""
                text += host + (user.isEmpty ? "" : (chance(3) ? "\t" : " ") + user)
                if chance(6) { text += " " }
                text += chance(6) ? "\r\n" : "\n"
            }
            if chance(6), text.last?.isNewline == true { text.removeLast() }
            return text
        }
        equiv = text()
        rhosts = text()
        if chance(8) { oddity = Oddity.allCases.randomElement(using: &random) ?? .none }
        let addresses = [IPAddress(v4: 0x0A00_0001), IPAddress(v4: 0x0A00_0002), IPAddress("2001:db8::1")]
        address =
            (chance(16) ? IPAddress("fe80::1") : addresses.randomElement(using: &random).flatMap(\.self))
            ?? IPAddress(v4: 0x0A00_0001)
        remoteUser = ["alice", "alice", "bob", "root"].randomElement(using: &random) ?? "alice"
        isSuperuser = chance(6)
        names = chance(3) ? .refuse : .hostsFile
    }
}

/// A rule of ours that the C library does not have, or reads otherwise; each is in docs/host-trust.md.
struct IntendedDifference: Sendable {
    var name: String
    /// A question that differs for this reason and no other.
    var example: Question
    /// Whether it is a reason for a difference; the second is what the C library says.
    var explains: @Sendable (Question, Bool) -> Bool

    private static func field(
        _ name: String, _ rhosts: String, _ isOdd: @escaping @Sendable (Substring) -> Bool
    ) -> IntendedDifference {
        IntendedDifference(name: name, example: Question(rhosts: rhosts)) { question, _ in
            question.fields.contains { $0.contains(where: isOdd) }
        }
    }

    private static func host(
        _ name: String, _ rhosts: String, _ isOdd: @escaping @Sendable (Substring) -> Bool
    ) -> IntendedDifference {
        IntendedDifference(name: name, example: Question(rhosts: rhosts)) { question, _ in
            question.fields.contains { fields in
                fields.first.map { isOdd($0.first == "-" ? $0.dropFirst() : $0) } ?? false
            }
        }
    }

    private static let foreignForms: Set<Substring> = [
        "012.0.0.1", "10.1", "0x0a000001", "167772161", "::ffff:10.0.0.1", "2001:DB8::1",
    ]

    static let all: [IntendedDifference] = [
        field("a wildcard or netgroup rejects the file", "+\n") { $0.contains("+") || $0.contains("@") },
        field("a minus alone rejects the file", "-\n10.0.0.1\n") { $0 == "-" },
        field("a number sign inside a field rejects the file", "10.0.0.1 a#x\n10.0.0.1\n") {
            $0.dropFirst().contains("#")
        },
        IntendedDifference(
            name: "a control byte rejects the file", example: Question(rhosts: "10.0.0.1 b\u{7}\n10.0.0.1\n")
        ) { question, _ in
            question.texts.contains { $0.utf8.contains(7) }
        },
        IntendedDifference(
            name: "a third field rejects the file", example: Question(rhosts: "10.0.0.1\n10.0.0.2 alice x\n")
        ) { question, _ in
            question.fields.contains { $0.count > 2 && $0[2].first != "#" }
        },
        IntendedDifference(
            name: "a blank before the host rejects the file", example: Question(rhosts: "10.0.0.1\n 10.0.0.2\n")
        ) { question, _ in
            question.lines.contains {
                ($0.first == " " || $0.first == "\t") && !["#", nil].contains($0.first { !$0.isWhitespace })
            }
        },
        IntendedDifference(name: "a comment may follow the host", example: Question(rhosts: "10.0.0.1 #x\n")) {
            question, _ in
            question.fields.contains { $0.count > 1 && $0[1].first == "#" }
        },
        host("an address in another form rejects the file", "10.1\n") { foreignForms.contains($0) },
        host("what is neither address nor name rejects the file", "10.0.0.2/8\n10.0.0.1\n") { $0.contains("/") },
        host("a link-local address without scope rejects the file", "fe80::1\n10.0.0.1\n") { $0 == "fe80::1" },
        IntendedDifference(
            name: "with names refused a name rejects the file", example: Question(rhosts: "other\n10.0.0.1\n")
        ) { question, _ in
            let names: Set<String> = ["build", "other", "nosuch"]
            return question.names == .refuse
                && question.fields.contains { fields in
                    fields.first.map { names.contains(($0.first == "-" ? $0.dropFirst() : $0).lowercased()) } ?? false
                }
        },
        IntendedDifference(
            name: "a name that cannot be resolved denies where its line does",
            example: Question(rhosts: "-nosuch\n10.0.0.1\n", names: .hostsFile)
        ) { question, theirs in
            theirs && question.names == .hostsFile
                && question.fields.contains { fields in
                    fields.first == "-nosuch"
                        || (fields.first == "nosuch" && fields.count > 1 && fields[1].first == "-")
                }
        },
        // The C library goes on to .rhosts after hosts.equiv has denied.
        IntendedDifference(
            name: "a denial in hosts.equiv is final", example: Question(equiv: "-10.0.0.1\n", rhosts: "10.0.0.1\n")
        ) { question, theirs in
            theirs && !question.isSuperuser && question.rhosts != nil
                && (question.equiv ?? "").split(whereSeparator: \.isNewline).contains { line in
                    line.split(whereSeparator: \.isWhitespace).prefix(2).contains { $0.first == "-" }
                }
        },
        // A denial in .rhosts, too, when hosts.equiv trusts: the C library never opens it then.
        IntendedDifference(
            name: "a denial in .rhosts is final", example: Question(equiv: "10.0.0.1\n", rhosts: "-10.0.0.1\n")
        ) { question, theirs in
            theirs && !question.isSuperuser && question.equiv != nil
                && (question.rhosts ?? "").split(whereSeparator: \.isNewline).contains { line in
                    line.split(whereSeparator: \.isWhitespace).prefix(2).contains { $0.first == "-" }
                }
        },
        // `-HOST USER` denies everybody there to the C library, and USER to us (docs/host-trust.md, Lines).
        IntendedDifference(
            name: "a denied host with a user denies that user alone",
            example: Question(rhosts: "-10.0.0.1 bob\n10.0.0.1\n")
        ) { question, theirs in
            !theirs && question.fields.contains { $0.count > 1 && $0[0].first == "-" }
        },
        IntendedDifference(
            name: "a home that others can write rejects the file",
            example: Question(rhosts: "10.0.0.1\n", oddity: .openHome)
        ) { question, theirs in
            theirs && question.oddity == .openHome
        },
    ]
}
