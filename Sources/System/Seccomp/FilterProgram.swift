// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A filter as a classic BPF program: what it answers to each call, found by halving the numbers.
///
/// Neighbours with one answer are one step of the search, so that a filter for a command has some 170 instructions where one
/// comparison for each call takes 440: the kernel translates them anew at each start of a command.
///
/// Arguments are compared as the kernel compares them. Of many it looks at the low 32 bits alone, and a filter that compares
/// all 64 lets a request by that has anything in the upper half (CVE-2019-7303).
struct FilterProgram {
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

    /// What becomes of a call.
    enum Answer: Hashable {
        /// The same, whatever its arguments.
        case always(Action)
        /// It is allowed where all of these pass, and what the first one that does not says is done.
        case checked([Refusal])
    }

    /// A check, and what answers a call that does not pass it.
    struct Refusal: Hashable {
        let check: Check
        let action: Action
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

    /// The AUDIT_ARCH_* value of this machine; a call of any other ends the process.
    private let architecture: UInt32
    /// Numbers that have one answer: from this one on, to the next step's. In order, from 0.
    private var steps: [(from: UInt32, answer: Answer)] = []

    /// A program.
    ///
    /// - Parameters:
    ///   - architecture: the AUDIT_ARCH_* value of this machine.
    ///   - answers: what is answered to the calls numbered from 0.
    ///   - further: to all from there on.
    ///   - hasX32: whether numbers from 0x40000000 on are x32's, which end the process.
    init(architecture: UInt32, answers: [Answer], further: Answer, hasX32: Bool) {
        self.architecture = architecture
        for (number, answer) in answers.enumerated() { add(answer, from: UInt32(number)) }
        add(further, from: UInt32(answers.count))
        if hasX32 { add(.always(.killProcess), from: 0x4000_0000) }
    }

    private mutating func add(_ answer: Answer, from number: UInt32) {
        if steps.last?.answer != answer { steps.append((number, answer)) }
    }

    /// Instructions in reverse: where a jump leads is there before the jump is, as jumps lead forward alone.
    private struct Assembly {
        /// How many instructions may lie between a conditional jump and a place when that is chosen. It can pass 255, and a
        /// skip may still come between.
        private static let reach = 250

        private(set) var reversed: [Instruction] = []
        /// The last place of what answers; one is made anew where a jump does not reach it.
        private var places: [Answer: Int] = [:]

        mutating func append(_ instructions: [Instruction]) { reversed += instructions.reversed() }

        /// How many instructions lie between what comes next and a place.
        func distance(to place: Int) -> Int { reversed.count - place - 1 }

        /// A place from which an answer is given, within reach.
        mutating func place(of answer: Answer) -> Int {
            if let place = places[answer], distance(to: place) < Self.reach { return place }
            switch answer {
            case .always(let action): append([.result(action)])
            case .checked(let refusals):
                append(refusals.flatMap { FilterProgram.body(of: $0.check, else: $0.action) } + [.result(.allow)])
            }
            places[answer] = reversed.count - 1
            return reversed.count - 1
        }

        /// A place within reach that leads to another.
        mutating func near(_ place: Int) -> Int {
            guard distance(to: place) >= Self.reach else { return place }
            append([.skip(distance(to: place))])
            return reversed.count - 1
        }

        /// A place from which the answers of some steps are given.
        mutating func search(_ steps: ArraySlice<(from: UInt32, answer: Answer)>) -> Int {
            // INVARIANT: there is one at least.
            guard steps.count > 1 else { return place(of: steps.first?.answer ?? .always(.killProcess)) }
            let middle = steps.startIndex + steps.count / 2
            let above = search(steps[middle...])
            let below = near(search(steps[..<middle]))
            let reached = near(above)
            append([.ifAtLeast(steps[middle].from, distance(to: reached), distance(to: below))])
            return reversed.count - 1
        }
    }

    /// The program's bytes.
    func assembled() -> [UInt8] {
        var assembly = Assembly()
        let start = assembly.search(steps[...])
        if assembly.distance(to: start) > 0 { assembly.append([.skip(assembly.distance(to: start))]) }
        assembly.append([
            .load(Self.architectureOffset), .ifEqual(architecture, 1, 0), .result(.killProcess),
            .load(Self.numberOffset),
        ])
        return assembly.reversed.reversed().flatMap(Self.bytes)
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
