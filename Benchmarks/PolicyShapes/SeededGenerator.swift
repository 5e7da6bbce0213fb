// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// SplitMix64: the same numbers from the same seed, on every run and every machine.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 to a bound, without it.
    package mutating func below(_ bound: Int) -> Int {
        Int.random(in: 0..<max(bound, 1), using: &self)
    }

    /// Whether something of this share happens.
    package mutating func chance(_ percent: Int) -> Bool {
        below(100) < percent
    }
}
