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
    /// The low half a number and one, the high half part of the key's hash; 0 where nothing is. Always a power of two,
    /// and at most three quarters full.
    private var slots: [UInt64] = Array(repeating: 0, count: 8)
    private var longest = 0

    /// The number of keys.
    var count: Int { ends.count }

    /// The number of a key, if it was seen.
    func number(_ key: Span<UInt8>) -> Int? {
        // A stranger's word that is longer than any key is not hashed.
        guard !ends.isEmpty, key.count <= longest else { return nil }
        return number(in: slots[slot(key, Self.hash(key))])
    }

    private func number(in slot: UInt64) -> Int? {
        slot == 0 ? nil : Int(UInt32(truncatingIfNeeded: slot)) - 1
    }

    /// The number of a key, which is a new one if it was not seen.
    mutating func insert(_ key: Span<UInt8>) -> Int {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let hash = Self.hash(key)
        let place = slot(key, hash)
        if let number = number(in: slots[place]) { return number }
        for index in key.indices { bytes.append(key[index]) }
        ends.append(bytes.count)
        longest = max(longest, key.count)
        slots[place] = (hash >> 32) << 32 | UInt64(ends.count)
        return ends.count - 1
    }

    /// The slot of a key, or the free one where it would go.
    private func slot(_ key: Span<UInt8>, _ hash: UInt64) -> Int {
        let mask = slots.count - 1
        var place = Int(hash >> 32) & mask
        while let number = number(in: slots[place]) {
            if slots[place] >> 32 == hash >> 32, isKey(number, key) { break }
            place = (place + 1) & mask
        }
        return place
    }

    private func isKey(_ number: Int, _ key: Span<UInt8>) -> Bool {
        let start = number == 0 ? 0 : ends[number - 1]
        guard ends[number] - start == key.count else { return false }
        for index in key.indices where bytes[start + index] != key[index] { return false }
        return true
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: 0, count: old.count * 2)
        let mask = slots.count - 1
        for slot in old where slot != 0 {
            var place = Int(slot >> 32) & mask
            while slots[place] != 0 { place = (place + 1) & mask }
            slots[place] = slot
        }
    }

    private static func hash(_ key: Span<UInt8>) -> UInt64 {
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
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }
}
