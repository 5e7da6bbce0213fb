// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The first part of a filter: what cannot be said to libseccomp as a rule by name.
///
/// It runs before libseccomp's program, and only ever refuses: a call that it lets pass is still up to the list.
/// libseccomp compares 64-bit arguments, where the kernel looks at the low 32 bits of many: a request with anything in
/// the upper half would get by (CVE-2019-7303). The guard compares what the kernel compares.
struct FilterGuard {
    /// What a filter does with a call (linux/seccomp.h).
    struct Action: Hashable {
        let value: UInt32

        static let allow = Action(value: 0x7FFF_0000)
        static let killProcess = Action(value: 0x8000_0000)
        static let refuse = errno(1)  // EPERM
        static let unknown = errno(38)  // ENOSYS

        static func errno(_ code: UInt32) -> Action {
            Action(value: 0x0005_0000 | code & 0xFFFF)
        }
    }

    /// What an argument must be for the call to pass. Arguments count from 0; but for `zero`, the low 32 bits.
    enum Check: Hashable {
        /// None of these bits is set.
        case without(Int, bits: UInt32)
        /// All of these bits are set.
        case with(Int, bits: UInt32)
        /// Equals none of these.
        case noneOf(Int, [UInt32])
        /// Equals one of these, as far as the mask goes.
        case oneOf(Int, mask: UInt32, [UInt32])
        /// All 64 bits are 0.
        case zero(Int)

        /// Whether a call's six arguments pass, as the program decides it.
        func passes(_ arguments: [UInt64]) -> Bool {
            func low(_ place: Int) -> UInt32 { UInt32(truncatingIfNeeded: arguments[place]) }
            return switch self {
            case .without(let place, let bits): low(place) & bits == 0
            case .with(let place, let bits): low(place) & bits == bits
            case .noneOf(let place, let values): !values.contains(low(place))
            case .oneOf(let place, let mask, let values): values.contains(low(place) & mask)
            case .zero(let place): arguments[place] == 0
            }
        }
    }

    /// One instruction of classic BPF, `struct sock_filter`.
    private struct Instruction {
        var code: UInt16
        var whenTrue: UInt8 = 0
        var whenFalse: UInt8 = 0
        var operand: UInt32

        static func load(_ offset: UInt32) -> Instruction { Instruction(code: 0x20, operand: offset) }
        static func mask(_ bits: UInt32) -> Instruction { Instruction(code: 0x54, operand: bits) }
        static func result(_ action: Action) -> Instruction { Instruction(code: 0x06, operand: action.value) }
        static func skip(_ count: Int) -> Instruction { Instruction(code: 0x05, operand: UInt32(count)) }

        static func ifEqual(_ value: UInt32, _ yes: Int, _ no: Int) -> Instruction {
            Instruction(code: 0x15, whenTrue: UInt8(yes), whenFalse: UInt8(no), operand: value)
        }

        static func ifAbove(_ value: UInt32, _ yes: Int, _ no: Int) -> Instruction {
            Instruction(code: 0x25, whenTrue: UInt8(yes), whenFalse: UInt8(no), operand: value)
        }

        static func ifAtLeast(_ value: UInt32, _ yes: Int, _ no: Int) -> Instruction {
            Instruction(code: 0x35, whenTrue: UInt8(yes), whenFalse: UInt8(no), operand: value)
        }

        static func ifAnyBit(_ bits: UInt32, _ yes: Int, _ no: Int) -> Instruction {
            Instruction(code: 0x45, whenTrue: UInt8(yes), whenFalse: UInt8(no), operand: bits)
        }
    }

    // Offsets in struct seccomp_data, little-endian.
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4
    private static func low(_ argument: Int) -> UInt32 { UInt32(16 + 8 * argument) }
    private static func high(_ argument: Int) -> UInt32 { UInt32(20 + 8 * argument) }

    /// The AUDIT_ARCH_* value of this machine.
    let architecture: UInt32
    /// Whether numbers from 0x40000000 on are x32's.
    let hasX32: Bool
    /// Numbers that this build knows no call for, as ranges; the last ends where numbers end.
    let unknown: [ClosedRange<UInt32>]

    /// Calls by number, in order: refused with an action whatever their arguments.
    private(set) var answered: [(number: UInt32, action: Action)] = []
    /// Calls by number, in order: held to checks, each with what answers a call that does not pass it.
    ///
    /// INVARIANT: a number stands here once, as a call that passed an entry's checks meets no other entry.
    private(set) var checked: [(number: UInt32, checks: [(check: Check, action: Action)])] = []

    init(architecture: UInt32, hasX32: Bool, unknown: [ClosedRange<UInt32>]) {
        self.architecture = architecture
        self.hasX32 = hasX32
        self.unknown = unknown
    }

    /// Answers a call with an action, always.
    mutating func answer(_ number: UInt32?, _ action: Action) {
        guard let number else { return }
        answered.append((number, action))
    }

    /// Holds a call to checks, all of which must pass, besides those that it is held to already.
    mutating func hold(_ number: UInt32?, to checks: [Check], else action: Action) {
        guard let number, !checks.isEmpty else { return }
        let further = checks.map { (check: $0, action: action) }
        if let place = checked.firstIndex(where: { $0.number == number }) {
            checked[place].checks += further
        } else {
            checked.append((number, further))
        }
    }

    /// The program; what passes runs on into what is put behind it.
    func assembled() -> [UInt8] {
        var out: [Instruction] = []
        // Where `skip` to the end must be patched in.
        var ends: [Int] = []

        out.append(.load(Self.architectureOffset))
        out.append(.ifEqual(architecture, 1, 0))
        ends.append(out.count)
        out.append(.skip(0))  // a foreign one: libseccomp's program ends the process
        out.append(.load(Self.numberOffset))
        if hasX32 {
            out.append(.ifAtLeast(0x4000_0000, 0, 1))
            out.append(.result(.killProcess))
        }
        for range in unknown {
            out.append(.ifAtLeast(range.lowerBound, 0, 2))
            out.append(.ifAbove(range.upperBound, 1, 0))
            out.append(.result(.unknown))
        }
        for (number, action) in answered {
            out.append(.ifEqual(number, 0, 1))
            out.append(.result(action))
        }
        for (number, checks) in checked {
            let body = checks.flatMap { Self.body(of: $0.check, else: $0.action) }
            // The body and the skip behind it.
            out.append(.ifEqual(number, 0, body.count + 1))
            out += body
            ends.append(out.count)
            out.append(.skip(0))
        }
        for end in ends { out[end] = .skip(out.count - end - 1) }
        return out.flatMap(Self.bytes)
    }

    private static func body(of check: Check, else action: Action) -> [Instruction] {
        switch check {
        case .without(let argument, let bits):
            [.load(low(argument)), .ifAnyBit(bits, 0, 1), .result(action)]
        case .with(let argument, let bits):
            [.load(low(argument)), .mask(bits), .ifEqual(bits, 1, 0), .result(action)]
        case .noneOf(let argument, let values):
            [.load(low(argument))] + values.flatMap { [.ifEqual($0, 0, 1), .result(action)] }
        case .oneOf(let argument, let mask, let values):
            [.load(low(argument)), .mask(mask)]
                + values.enumerated().map { .ifEqual($1, values.count - $0, 0) } + [.result(action)]
        case .zero(let argument):
            [
                .load(low(argument)), .ifEqual(0, 1, 0), .result(action),
                .load(high(argument)), .ifEqual(0, 1, 0), .result(action),
            ]
        }
    }

    private static func bytes(of instruction: Instruction) -> [UInt8] {
        let code = instruction.code
        let operand = instruction.operand
        return [
            UInt8(truncatingIfNeeded: code), UInt8(truncatingIfNeeded: code >> 8), instruction.whenTrue,
            instruction.whenFalse, UInt8(truncatingIfNeeded: operand), UInt8(truncatingIfNeeded: operand >> 8),
            UInt8(truncatingIfNeeded: operand >> 16), UInt8(truncatingIfNeeded: operand >> 24),
        ]
    }
}
