// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Runs a filter as the kernel would, for one system call: the second opinion on what a compiled filter says.
///
/// Knows the instructions that our filters are made of; any other is a failure of the test.
struct SandboxProgram {
    /// What a filter may look at, `struct seccomp_data`.
    struct Call {
        var number: UInt32
        var architecture: UInt32 = SandboxProgram.nativeArchitecture
        var arguments: [UInt64] = []

        func word(at offset: UInt32) -> UInt32? {
            switch offset {
            case 0: return number
            case 4: return architecture
            case 8, 12: return 0
            case 16..<64 where offset % 4 == 0:
                let index = Int(offset - 16) / 8
                let value = index < arguments.count ? arguments[index] : 0
                return UInt32(truncatingIfNeeded: offset % 8 == 0 ? value : value >> 32)
            default: return nil
            }
        }
    }

    enum Verdict: Hashable {
        case allow
        case errno(UInt32)
        case kill
        case broken(String)
    }

    #if arch(x86_64)
    static let nativeArchitecture: UInt32 = 0xC000_003E
    static let foreignArchitectures: [UInt32] = [0x4000_0003, 0xC000_00B7, 0]
    #else
    static let nativeArchitecture: UInt32 = 0xC000_00B7
    static let foreignArchitectures: [UInt32] = [0x4000_0028, 0xC000_003E, 0]
    #endif

    static let eperm = Verdict.errno(1)
    static let enosys = Verdict.errno(38)

    private let code: [(operation: UInt16, yes: Int, no: Int, operand: UInt32)]

    init(_ bytes: [UInt8]) {
        code = stride(from: 0, to: bytes.count - 7, by: 8).map { start in
            let operand = bytes[(start + 4)..<(start + 8)].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let operation = UInt16(bytes[start]) | UInt16(bytes[start + 1]) << 8
            return (operation, Int(bytes[start + 2]), Int(bytes[start + 3]), operand)
        }
    }

    var count: Int { code.count }

    func verdict(_ number: UInt32, _ arguments: [UInt64] = []) -> Verdict {
        verdict(Call(number: number, arguments: arguments))
    }

    func verdict(_ call: Call) -> Verdict {
        var accumulator: UInt32 = 0
        var at = 0
        // Jumps only go forward: as many steps as instructions at most.
        while at < code.count {
            let (operation, yes, no, operand) = code[at]
            at += 1
            switch operation {
            case 0x20:
                guard let word = call.word(at: operand) else { return .broken("load of \(operand)") }
                accumulator = word
            case 0x54: accumulator &= operand
            case 0x05: at += Int(operand)
            case 0x15: at += accumulator == operand ? yes : no
            case 0x35: at += accumulator >= operand ? yes : no
            case 0x45: at += accumulator & operand != 0 ? yes : no
            case 0x06:
                switch operand & 0xFFFF_0000 {
                case 0x7FFF_0000: return .allow
                case 0x8000_0000: return .kill
                case 0x0005_0000: return .errno(operand & 0xFFFF)
                default: return .broken("action \(operand)")
                }
            default: return .broken("operation \(operation)")
            }
        }
        return .broken("ran off the end")
    }
}
