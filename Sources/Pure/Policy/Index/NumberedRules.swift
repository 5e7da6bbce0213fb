// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The rules of a policy in the order of an index: forbids, then permits, both as they are written.
struct NumberedRules {
    let rules: [Rule]
    /// The place of each number's rule among the rules.
    let places: [Int]
    /// The number of forbids.
    let forbidCount: Int

    init(_ rules: [Rule]) {
        self.rules = rules
        let forbids = rules.indices.filter { rules[$0].effect == .forbid }
        places = forbids + rules.indices.filter { rules[$0].effect == .permit }
        forbidCount = forbids.count
    }

    /// The number of rules.
    var count: Int { places.count }

    /// The forbids' numbers, and the permits'.
    var halves: [Range<Int>] { [0..<forbidCount, forbidCount..<count] }

    /// Each number with the place of its rule; to copy whole rules would cost more than all else.
    var numbers: some Sequence<(UInt32, Int)> { zip(UInt32(0)..., places) }
}
