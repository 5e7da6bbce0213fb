// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux

/// Tries one system call in a process of its own, under a filter and a ruleset: what the tests of confinement stand on.
///
/// What is tried is what the kernel does, not what the filter says: with the filter taken out the outcome is another.
package struct SystemCallTrial: Sendable {
    /// How the call went.
    package enum Outcome: Sendable, Hashable {
        /// It returned this.
        case returned(Int64)
        /// It failed with this errno.
        case failed(Int32)
        /// A signal ended the process.
        case killed(Int32)
    }

    /// What goes into an argument register.
    package enum Argument: Sendable, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
        /// A number.
        case number(UInt64)
        /// The address of these bytes.
        case bytes([UInt8])

        package init(integerLiteral value: Int64) {
            self = .number(UInt64(bitPattern: value))
        }

        /// The address of the text's bytes and a NUL.
        package init(stringLiteral value: String) {
            self = .bytes(Array(value.utf8) + [0])
        }
    }

    /// The way into the kernel.
    package enum Entry: Sendable {
        /// The architecture's own.
        case native
        /// `int 0x80`, i386's, which x86-64 kernels mostly still have.
        case int80
    }

    private let filter: [UInt8]
    private let ruleset: LandlockRuleset?
    private let uid: UInt32?

    /// A trial under a filter, a ruleset and as a user; each may be left out.
    package init(filter: [UInt8] = [], ruleset: LandlockRuleset? = nil, uid: UInt32? = nil) {
        self.filter = filter
        self.ruleset = ruleset
        self.uid = uid
    }

    /// Makes the call. Throws where the process could not be set up: then nothing is said about the call.
    package func call(
        _ number: UInt32, _ arguments: [Argument] = [], by entry: Entry = .native
    ) throws(ConfinementError) -> Outcome {
        // One allocation holds all that arguments point to, zeros behind it for what the kernel writes.
        var memory: [UInt8] = []
        var offsets: [Int?] = []
        for argument in arguments {
            switch argument {
            case .number: offsets.append(nil)
            case .bytes(let bytes):
                memory += [UInt8](repeating: 0, count: (8 - memory.count % 8) % 8)
                offsets.append(memory.count)
                memory += bytes
            }
        }
        memory += [UInt8](repeating: 0, count: 4_096)
        var outcome = portcullis_trial()
        var code: Int32 = 0
        // SAFETY: the memory lives for the call; the child works on its own copy of it.
        unsafe memory.withUnsafeMutableBytes { buffer in
            let base = UInt64(UInt(bitPattern: buffer.baseAddress))
            var registers: [UInt64] = []
            for (argument, offset) in zip(arguments, offsets) {
                switch argument {
                case .number(let value): registers.append(value)
                case .bytes: registers.append(base + UInt64(offset ?? 0))
                }
            }
            registers += [UInt64](repeating: 0, count: max(0, 6 - registers.count))
            // SAFETY: six registers, a filter of the length that is passed, and an outcome that lives for the call.
            code = unsafe portcullis_trial_run(
                ruleset?.descriptor.number ?? -1, filter, UInt16(clamping: filter.count / 8),
                uid.map(Int64.init) ?? -1,
                Int32(entry == .native ? PORTCULLIS_ENTRY_NATIVE : PORTCULLIS_ENTRY_INT80), Int64(number), registers,
                &outcome)
        }
        guard code == 0 else { throw ConfinementError(.verification, code) }
        switch outcome.step {
        case 0: break
        case 2: throw ConfinementError(.credentials, Int32(truncatingIfNeeded: -outcome.result))
        case 3: throw ConfinementError(.noNewPrivileges, Int32(truncatingIfNeeded: -outcome.result))
        case 4: throw ConfinementError(.landlock, Int32(truncatingIfNeeded: -outcome.result))
        default: throw ConfinementError(.filter, Int32(truncatingIfNeeded: -outcome.result))
        }
        if outcome.signal != 0 { return .killed(outcome.signal) }
        // A failed call is minus its errno, which is at most 4095.
        if outcome.result < 0, outcome.result >= -4_095 { return .failed(Int32(-outcome.result)) }
        return .returned(outcome.result)
    }
}
