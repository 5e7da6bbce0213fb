// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import PolicyLanguage
import TestSupport
import Testing

@testable import Policy

/// Who can, and what can: answers from the rules' geometry, compared with the decisions on a small universe.
@Suite struct QuestionsTests {
    /// One of every kind that the parts of `Writer` can tell apart.
    private enum Universe {
        static let sources = [
            "10.1.2.3", "10.1.2.5", "10.1.2.200", "10.9.9.9", "192.0.2.1", "198.51.100.1", "2001:db8::1", "2001:db9::1",
        ]
        static let users = ["alice", "bob", "root", "mallory", "eve"]
        static let commands = ["id", "id -u", "id 5", "who", "ls", "id; id", "rcp -t x", "./id"]
        static let times = ["2026-11-20T12:00", "2026-11-20T23:00", "2026-11-21T12:00"]

        static let accounts: [Account] = {
            var accounts: [Account] = []
            for name in ["alice", "bob", "root", "mallory", "eve", "daemon", "toor"] {
                guard let user = UserName(name) else { continue }
                for groups in [[], ["wheel"]] as [[ByteText]] {
                    accounts.append(
                        Account(
                            name: user, uid: name == "root" || name == "toor" ? 0 : 1_000, groups: groups,
                            isSystem: name == "daemon"))
                }
            }
            return accounts
        }()

        /// Every request of some services that agrees with what a question knows.
        static func requests(_ question: PartialRequest) -> [Request] {
            var requests: [Request] = []
            let sources = question.source.map { [$0] } ?? Self.sources.compactMap { IPAddress($0) }
            let targets = question.target.map { [$0] } ?? accounts
            let commands = question.command.map { [$0] } ?? Self.commands.map { RequestText.command(Array($0.utf8)) }
            let times = question.time.map { [$0] } ?? Self.times.compactMap { RequestText.time($0) }
            for service in question.services {
                let named: [UserName?] = question.remoteUser.map { [$0] } ?? users.compactMap { UserName($0) }
                for source in sources {
                    for user in service == .rexec ? [nil] : named {
                        for target in targets {
                            for command in commands {
                                for time in times {
                                    requests.append(
                                        Request(
                                            service: service, source: source, sourcePort: 1_023, remoteUser: user,
                                            target: target, command: command, time: time))
                                }
                            }
                        }
                    }
                }
            }
            return requests
        }
    }

    private struct Writer {
        var random: SeededGenerator

        mutating func pick<Value>(_ values: [Value]) -> Value {
            values[Int(random.next() % UInt64(values.count))]
        }

        mutating func rule(_ effect: String, _ number: Int) -> String {
            let service = pick(["rexec", "rsh", "any"])
            var text = "\(effect) r\(number): \(service)"
            let isPermit = effect == "permit"
            func may(_ writer: inout Self) -> Bool { isPermit || writer.pick([true, false]) }
            if may(&self) {
                text +=
                    " from " + pick(["any", "10.1.2.0/24", "10.1.2.3", "10.0.0.0/8", "{ @lab, 192.0.2.1 }", "::/0"])
            }
            if service != "rexec", may(&self) {
                text += " by " + pick(["any", "alice", "{ bob, root }", "@crew", "mallory"])
            }
            if may(&self) {
                let words = ["any", "alice", "{ bob, root }", "%wheel", "@crew", "daemon"]
                text += " as " + pick(service == "rexec" ? words : words + ["same", "{ same, bob }"])
            }
            if may(&self) {
                text +=
                    " run "
                    + pick([
                        "any", "shell", "\"/usr/bin/id *\"", "\"/usr/bin/id <int>\"",
                        "{ \"/usr/bin/who\", \"/bin/rcp *\" }",
                        "\"/usr/bin/rcp *\"",
                    ])
            }
            if pick([true, false, false]) { text += " during " + pick(["mon-fri 09:00-17:00", "fri 22:00-04:00"]) }
            return text
        }
    }

    private static let head = """
        networks lab = { 10.1.2.128/25, 2001:db8::/32 }
        users crew = { alice, root }

        """

    /// A permit is listed exactly for the services where some request of the universe matches it and nothing forbids it, and
    /// its exceptions are exactly the forbids that match something there together with it.
    private func compare(_ policy: Policy, _ question: PartialRequest, _ seed: UInt64) {
        let answer = policy.permits(for: question)
        var open: [String: Set<Service>] = [:]
        var meeting: [String: [Service: Set<String>]] = [:]
        for request in Universe.requests(question) where !policy.isDisabled(request) {
            let matching = policy.rules.filter { $0.matches(request) }
            let forbids = Set(matching.filter { $0.effect == .forbid }.map(\.name))
            for permit in matching where permit.effect == .permit {
                meeting[permit.name, default: [:]][request.service, default: []].formUnion(forbids)
                if forbids.isEmpty { open[permit.name, default: []].insert(request.service) }
            }
        }
        let listed = Dictionary(uniqueKeysWithValues: answer.permits.map { ($0.rule.name, $0) })
        #expect(Set(listed.keys) == Set(open.keys), "seed \(seed): \(question)")
        #expect(Set(answer.forbidden.map(\.rule.name)) == Set(meeting.keys).subtracting(open.keys), "seed \(seed)")
        for (name, permit) in listed {
            #expect(permit.isProved)
            let services = open[name] ?? []
            let known = Set(Service.allCases.filter { permit.services.contains($0) })
            #expect(known == services, "seed \(seed): \(name) of \(question)")
            let exceptions = services.reduce(into: Set<String>()) { $0.formUnion(meeting[name]?[$1] ?? []) }
            #expect(Set(permit.exceptions.map(\.name)) == exceptions, "seed \(seed): \(name) of \(question)")
        }
    }

    private func random(_ seed: UInt64) throws -> (Policy, Writer) {
        var writer = Writer(random: SeededGenerator(seed: seed))
        let rules = (0..<8).map { writer.rule($0 % 3 == 2 ? "forbid" : "permit", $0) }
        let settings = writer.pick(["securetcpip off", "securetcpip on except rsh"])
        return (try policy(Self.head + rules.joined(separator: "\n"), settings: settings), writer)
    }

    @Test(arguments: 0..<40 as Range<UInt64>) func whoCanAgreesWithEveryDecision(_ seed: UInt64) throws {
        var (policy, writer) = try random(seed)
        for _ in 0..<4 {
            var question = PartialRequest()
            question.target = writer.pick(Universe.accounts)
            question.command = RequestText.command(Array(writer.pick(Universe.commands).utf8))
            if writer.pick([true, false]) { question.time = RequestText.time(writer.pick(Universe.times)) }
            compare(policy, question, seed)
        }
    }

    @Test(arguments: 100..<140 as Range<UInt64>) func whatCanAgreesWithEveryDecision(_ seed: UInt64) throws {
        var (policy, writer) = try random(seed)
        for _ in 0..<2 {
            var question = PartialRequest(services: writer.pick([[.rexec], [.rsh], Service.allCases]))
            question.source = IPAddress(writer.pick(Universe.sources))
            if writer.pick([true, true, false]) { question.remoteUser = UserName(writer.pick(Universe.users)) }
            if writer.pick([true, false, false]) { question.target = writer.pick(Universe.accounts) }
            compare(policy, question, seed)
        }
    }

    /// With everything known a question is a request, and the answer must be what matches it: nothing more.
    @Test(arguments: 200..<230 as Range<UInt64>) func aQuestionWithoutUnknownsIsADecision(_ seed: UInt64) throws {
        var (policy, writer) = try random(seed)
        for _ in 0..<40 {
            var question = PartialRequest(services: [writer.pick(Service.allCases)])
            question.source = IPAddress(writer.pick(Universe.sources))
            question.remoteUser = UserName(writer.pick(Universe.users))
            question.target = writer.pick(Universe.accounts)
            question.command = RequestText.command(Array(writer.pick(Universe.commands).utf8))
            question.time = RequestText.time(writer.pick(Universe.times))
            let request = try #require(Universe.requests(question).first)
            let answer = policy.permits(for: question)
            switch policy.decide(request) {
            case .permit(let terms):
                #expect(answer.permits.first?.rule.reference == terms.rule, "seed \(seed)")
                #expect(answer.permits.first?.usesShell == terms.usesShell, "seed \(seed)")
            case .deny: #expect(answer.permits.isEmpty, "seed \(seed): \(request)")
            }
        }
    }

    // MARK: Single answers

    private func names(_ rules: String, _ question: PartialRequest) throws -> [String] {
        try policy(rules).permits(for: question).permits.map(\.rule.name)
    }

    private func whoCan(_ target: String, _ command: String, groups: [ByteText] = []) throws -> PartialRequest {
        var question = PartialRequest()
        question.target = RequestText.account(try #require(UserName(target)), groups: groups)
        question.command = RequestText.command(Array(command.utf8))
        return question
    }

    @Test func aPermitAllOfWhichIsForbiddenByTwoRulesTogetherIsLeftOut() throws {
        let rules = """
            permit a: rexec from 10.0.0.0/8 as alice run any
            forbid low: any from 10.0.0.0/9
            forbid high: rexec from 10.128.0.0/9 as alice
            """
        let answer = try policy(rules).permits(for: whoCan("alice", "id"))
        #expect(answer.permits.isEmpty)
        #expect(answer.forbidden.map(\.rule.name) == ["a"])
        #expect(answer.forbidden.first?.exceptions.map(\.name) == ["low", "high"])
    }

    @Test func aForbidThatTakesAPartIsAnException() throws {
        let rules = """
            permit a: rexec from 10.0.0.0/8 as alice run any
            forbid part: any from 10.66.0.0/16
            forbid other: any from 10.67.0.0/16 as bob
            forbid far: any from 192.0.2.0/24
            """
        let answer = try policy(rules).permits(for: whoCan("alice", "id"))
        #expect(answer.permits.first?.exceptions.map(\.name) == ["part"])
    }

    @Test func sameBecomesTheOneRemoteUserThatItMeans() throws {
        let rules = """
            permit a: any from any by any as same run any
            permit b: rsh from any by bob as same run any
            permit c: any from any by any as { same, %wheel } run any
            """
        let answer = try policy(rules).permits(for: whoCan("alice", "id", groups: ["wheel"]))
        #expect(answer.permits.map(\.rule.name) == ["a", "c"])
        #expect(answer.permits.map(\.services) == [.only(.rsh), .any])
        #expect(answer.permits.map(\.remoteUsers) == [["alice"], ["any"]])
    }

    @Test func theRemoteUserOfAnAddressSaysNothingOfRexec() throws {
        let rules = """
            permit a: rexec from 10.1.0.0/16 as backup run any
            permit b: rsh from 10.1.0.0/16 by alice as backup run any
            permit c: any from 10.1.0.0/16 by any as backup run any
            permit d: rsh from 10.1.0.0/16 by bob as backup run any
            """
        var question = PartialRequest()
        question.source = IPAddress("10.1.2.3")
        question.remoteUser = UserName("alice")
        let answer = try policy(rules).permits(for: question)
        #expect(answer.permits.map(\.rule.name) == ["a", "b", "c"])
        #expect(answer.permits.map(\.services) == [.only(.rexec), .only(.rsh), .any])
        #expect(answer.permits.map { $0.remoteUsers == nil } == [true, false, false])
    }

    @Test func uid0IsPermittedByTheLiteralNameAlone() throws {
        let rules = """
            users roots = { root }
            permit a: rexec from any as any run any
            permit b: rexec from any as @roots run any
            permit c: rexec from any as root run any
            """
        #expect(try names(rules, whoCan("root", "id", groups: ["root"])) == ["c"])
    }

    @Test func remoteCopyIsNobodysWhereSecureTCPIPHasItOff() throws {
        let rules = "permit a: rexec from any as any run \"/usr/bin/rcp *\"\npermit b: rexec from any as any run any"
        let secured = try policy(rules, settings: "securetcpip on")
        #expect(try secured.permits(for: whoCan("alice", "rcp -t x")).permits.isEmpty)
        #expect(secured.permits(for: PartialRequest()).permits.map(\.rule.name) == ["b"])
        #expect(try policy(rules).permits(for: PartialRequest()).permits.map(\.rule.name) == ["a", "b"])
    }
}
