// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers byte strings from 0 on, in the order in which they are first seen.
///
/// The keys lie one after the other in one array, and are compared in full.
struct ByteTable: Sendable {
    private let keys = KeyHash()
    /// The keys one after the other, each as its number, its length and its bytes: what a look-up needs lies together.
    private var entries: [UInt8] = []
    /// The low half where a key's entry starts and one, the high half part of the key's hash; 0 where nothing is. Always
    /// a power of two, and at most three quarters full.
    private var slots: [UInt64] = Array(repeating: 0, count: 8)
    private var longest = 0

    /// The number of keys.
    private(set) var count = 0

    /// The bytes of a number and a length before a key's own.
    private static let headSize = 8

    /// The number of a key, if it was seen.
    func number(_ key: Span<UInt8>) -> Int? {
        // A stranger's word that is longer than any key is not hashed.
        guard count > 0, key.count <= longest else { return nil }
        return entry(in: slots[slot(key, keys.hash(key))]).map { value(at: $0) }
    }

    private func entry(in slot: UInt64) -> Int? {
        slot == 0 ? nil : Int(UInt32(truncatingIfNeeded: slot)) - 1
    }

    /// The number of a key, which is a new one if it was not seen.
    mutating func insert(_ key: Span<UInt8>) -> Int {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let hash = keys.hash(key)
        let place = slot(key, hash)
        if let entry = entry(in: slots[place]) { return value(at: entry) }
        // INVARIANT: a policy's text is at most 128 MiB, so that what is named in it fits.
        slots[place] = (hash >> 32) << 32 | UInt64(entries.count + 1)
        append(UInt32(count))
        append(UInt32(key.count))
        for index in key.indices { entries.append(key[index]) }
        longest = max(longest, key.count)
        count += 1
        return count - 1
    }

    /// The slot of a key, or the free one where it would go.
    private func slot(_ key: Span<UInt8>, _ hash: UInt64) -> Int {
        let mask = slots.count - 1
        var place = Int(hash >> 32) & mask
        while let entry = entry(in: slots[place]) {
            if slots[place] >> 32 == hash >> 32, isKey(entry, key) { break }
            place = (place + 1) & mask
        }
        return place
    }

    private func isKey(_ entry: Int, _ key: Span<UInt8>) -> Bool {
        guard value(at: entry + 4) == key.count else { return false }
        let start = entry + Self.headSize
        for index in key.indices where entries[start + index] != key[index] { return false }
        return true
    }

    private func value(at place: Int) -> Int {
        Int(entries[place]) | Int(entries[place + 1]) << 8 | Int(entries[place + 2]) << 16
            | Int(entries[place + 3]) << 24
    }

    private mutating func append(_ value: UInt32) {
        for step in UInt32(0)..<4 { entries.append(UInt8(truncatingIfNeeded: value >> (step * 8))) }
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
}
