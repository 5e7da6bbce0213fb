// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Hashes keys of an index: quicker than Swift's own hash, which at a few bytes costs more than all else of a look-up.
///
/// Each step is a full product of two words whose halves are folded (as in wyhash). The seeds come from Swift's own
/// hash, which takes them from the kernel for each process: nobody outside knows them, so that nobody can aim at a slot.
/// What lies in a table is the policy's alone, and keys are compared in full, so that no more than time could be won.
/// `SWIFT_DETERMINISTIC_HASHING` would take the seeds away: the engine refuses to start with it.
package struct KeyHash: Sendable {
    private let seed: UInt64
    private let multiplier: UInt64

    /// A hash of its own seeds.
    package init() {
        seed = Self.random(1)
        // Odd, so that no bit of a key is lost.
        multiplier = Self.random(2) | 1
    }

    private static func random(_ number: Int) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(number)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    /// The hash of bytes.
    package func hash(_ key: Span<UInt8>) -> UInt64 {
        var state = seed ^ UInt64(key.count)
        var place = 0
        while place + 8 <= key.count {
            state = fold(state ^ key.eight(at: place))
            place += 8
        }
        // The length is in the state, so that bytes that are left need no mark.
        return fold(fold(state ^ key.rest(from: place)) ^ seed)
    }

    /// The hash of three words.
    func hash(_ first: UInt64, _ second: UInt64, _ third: UInt64) -> UInt64 {
        fold(fold(fold(first ^ seed) ^ second) ^ third)
    }

    /// The hash of a number.
    func hash(_ key: UInt64) -> UInt64 {
        fold(key ^ seed)
    }

    private func fold(_ word: UInt64) -> UInt64 {
        let product = word.multipliedFullWidth(by: multiplier)
        return product.high ^ product.low
    }
}
