// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy
import PolicyShapes

/// Requests that are aimed at a policy's rules: half of them meet every clause of a rule, half miss one by a little.
struct Requests {
    /// A power of two, so that the next request is found without a division.
    static let count = 2_048

    /// Those that are permitted.
    private(set) var permitted: [Request] = []
    /// Those that are refused.
    private(set) var refused: [Request] = []

    /// Aims at rules chosen at random; what comes of a request is the decider's word.
    init(aimedAt policy: Policy, deciding decide: (Request) -> Decision) {
        var generator = SeededGenerator(seed: 0xA1)
        // A policy that permits next to nothing must not keep this from its end.
        for _ in 0..<Self.count * 16 {
            guard permitted.count < Self.count || refused.count < Self.count else { break }
            let rule = policy.rules[generator.below(policy.rules.count)]
            guard var request = Self.request(meeting: rule, &generator) else { continue }
            if generator.chance(50) { Self.miss(&request, &generator) }
            switch decide(request) {
            case .permit where permitted.count < Self.count: permitted.append(request)
            case .deny where refused.count < Self.count: refused.append(request)
            default: break
            }
        }
    }

    /// Both kinds in turn.
    var mixed: [Request] { zip(permitted, refused).flatMap { [$0, $1] } }

    private static func request(meeting rule: Rule, _ generator: inout SeededGenerator) -> Request? {
        let service: Service =
            switch rule.services {
            case .only(let only): only
            // A `by` other than `any` matches RSH alone.
            case .any: (rule.remoteUsers?.isAny ?? true) && generator.chance(50) ? .rexec : .rsh
            }
        let minute = rule.hours?.ranges.first?.minutesOfWeek.first?.lowerBound ?? 720
        guard let time = LocalTime(weekday: minute / 1_440, minute: minute % 1_440),
            let user = name(rule.remoteUsers.map { Array($0.names) } ?? [], &generator)
        else { return nil }
        let isSame = rule.targets?.isSame ?? false
        guard let target = isSame ? user : name(rule.targets?.names ?? [], &generator) else { return nil }
        return Request(
            service: service, source: address(rule.sources.map { Array($0.blocks) } ?? [], &generator),
            sourcePort: 1_023, remoteUser: service == .rsh ? user : nil,
            target: Account(name: target, uid: 4_711, groups: ["users"], isSystem: false),
            command: command(rule.commands, &generator), time: time)
    }

    /// Changes one clause's part of a request.
    private static func miss(_ request: inout Request, _ generator: inout SeededGenerator) {
        switch generator.below(4) {
        case 0:
            // One bit, anywhere in the address.
            let width = request.source.family.width
            let value = request.source.value ^ (1 << UInt128(generator.below(width)))
            request.source =
                request.source.family == .v4 ? IPAddress(v4: UInt32(truncatingIfNeeded: value)) : IPAddress(v6: value)
        case 1 where request.remoteUser != nil:
            request.remoteUser = UserName("nobody\(generator.below(100))")
        case 2:
            guard let name = UserName("stranger\(generator.below(100))") else { return }
            request.target.name = name
        default:
            guard case .words(var words, let program) = request.command else { return }
            if words.count > 1 { words[words.count - 1].bytes.append(UInt8(ascii: "!")) } else { words.append("x") }
            request.command = .words(words, program: program)
        }
    }

    private static func address(_ blocks: [AddressBlock], _ generator: inout SeededGenerator) -> IPAddress {
        guard let block = blocks.randomElement(using: &generator) else { return IPAddress(v4: 0xC000_0201) }
        let free = UInt128(block.base.family.width - block.prefixLength)
        let noise = UInt128(generator.next()) << 64 | UInt128(generator.next())
        let host = free == 0 ? 0 : free >= 128 ? noise : noise & ((1 << free) - 1)
        let value = block.base.value | host
        return block.base.family == .v4 ? IPAddress(v4: UInt32(truncatingIfNeeded: value)) : IPAddress(v6: value)
    }

    private static func name(_ names: [UserName], _ generator: inout SeededGenerator) -> UserName? {
        names.randomElement(using: &generator) ?? UserName("guest\(generator.below(1_000))")
    }

    private static func command(_ commands: Commands?, _ generator: inout SeededGenerator) -> RequestedCommand {
        guard let commands, !commands.isShell else { return .needsShell(firstWord: "echo") }
        guard let pattern = Array(commands.patterns).randomElement(using: &generator) else {
            return words("/usr/bin/id", [])
        }
        let arguments: [ByteText] = pattern.arguments.map { argument in
            switch argument {
            case .literal(let literal): literal
            case .integer: ByteText(String(generator.below(1_000)))
            case .word: ByteText("word\(generator.below(1_000))")
            case .path(let directory): ByteText(directory.bytes + Array("/part".utf8))
            }
        }
        return words(pattern.program, arguments)
    }

    private static func words(_ program: ByteText, _ arguments: [ByteText]) -> RequestedCommand {
        .words([program] + arguments, program: .init(path: program, resolvedPath: program))
    }
}
