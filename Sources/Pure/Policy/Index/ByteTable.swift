// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers byte strings from 0 on, in the order in which they are first seen.
///
/// The keys lie one after the other in one array, and are compared in full. The hash is Swift's own (SipHash, seeded
/// for each process), so that nobody outside can aim at a slot. `SWIFT_DETERMINISTIC_HASHING` would take the seed away:
/// the engine refuses to start with it.
struct ByteTable: Sendable {
    private var bytes: [UInt8] = []
    /// Where each key ends; the next begins there.
    private var ends: [Int] = []
    /// A number and one; 0 where nothing is. Always a power of two, and at most three quarters full.
    private var slots: [UInt32] = Array(repeating: 0, count: 8)
    private var longest = 0

    /// The number of keys.
    var count: Int { ends.count }

    /// The number of a key, if it was seen.
    func number(_ key: Span<UInt8>) -> Int? {
        // A stranger's word that is longer than any key is not hashed.
        guard !ends.isEmpty, key.count <= longest else { return nil }
        let slot = slots[slot(key)]
        return slot == 0 ? nil : Int(slot) - 1
    }

    /// The number of a key, which is a new one if it was not seen.
    mutating func insert(_ key: Span<UInt8>) -> Int {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let place = slot(key)
        if slots[place] != 0 { return Int(slots[place]) - 1 }
        for index in key.indices { bytes.append(key[index]) }
        ends.append(bytes.count)
        longest = max(longest, key.count)
        slots[place] = UInt32(ends.count)
        return ends.count - 1
    }

    /// The slot of a key, or the free one where it would go.
    private func slot(_ key: Span<UInt8>) -> Int {
        let mask = slots.count - 1
        var place = Self.hash(key) & mask
        while slots[place] != 0, !isKey(Int(slots[place]) - 1, key) { place = (place + 1) & mask }
        return place
    }

    private func isKey(_ number: Int, _ key: Span<UInt8>) -> Bool {
        let start = number == 0 ? 0 : ends[number - 1]
        guard ends[number] - start == key.count else { return false }
        for index in key.indices where bytes[start + index] != key[index] { return false }
        return true
    }

    private mutating func grow() {
        slots = Array(repeating: 0, count: slots.count * 2)
        let mask = slots.count - 1
        var start = 0
        for (number, end) in ends.enumerated() {
            var place = Self.hash(bytes.span.extracting(start..<end)) & mask
            while slots[place] != 0 { place = (place + 1) & mask }
            slots[place] = UInt32(number + 1)
            start = end
        }
    }

    private static func hash(_ key: Span<UInt8>) -> Int {
        var hasher = Hasher()
        var word: UInt64 = 0
        for index in key.indices {
            word = word << 8 | UInt64(key[index])
            if index & 7 == 7 {
                hasher.combine(word)
                word = 0
            }
        }
        // At most seven bytes are left; the eighth says how many.
        hasher.combine(word | UInt64(key.count & 7) << 56)
        return hasher.finalize()
    }
}
