// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers that are mostly one, for which nothing is allocated.
struct FewNumbers {
    private var first: UInt32 = 0
    private var others: [UInt32] = []
    private(set) var count = 0

    init() {}

    init(_ number: UInt32) {
        append(number)
    }

    var isEmpty: Bool { count == 0 }

    subscript(_ place: Int) -> UInt32 { place == 0 ? first : others[place - 1] }

    /// Leaves none; the room for them stays.
    mutating func removeAll() {
        if count > 1 { others.removeAll(keepingCapacity: true) }
        count = 0
    }

    mutating func append(_ number: UInt32) {
        if count == 0 { first = number } else { others.append(number) }
        count += 1
    }
}
