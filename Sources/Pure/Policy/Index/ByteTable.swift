// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers byte strings from 0 on, in the order in which they are first seen.
///
/// Keys are compared in full. One of up to 23 bytes, as nearly every name is, lies in its slot, so that a look-up reads
/// one place of memory; the longer ones lie one after the other in an array.
struct ByteTable: Sendable {
    /// A key as words, the last byte of which is its length; or where a long one lies.
    private struct Key: Sendable, Equatable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0

        /// The most bytes that fit.
        static let limit = 23
        /// The length byte of a long one.
        static let long: UInt64 = 0xFF

        init() {}

        /// The bytes, at most 23.
        init(_ bytes: Span<UInt8>) {
            if bytes.count < 8 {
                first = bytes.rest(from: 0)
            } else if bytes.count < 16 {
                first = bytes.eight(at: 0)
                second = bytes.rest(from: 8)
            } else {
                first = bytes.eight(at: 0)
                second = bytes.eight(at: 8)
                third = bytes.rest(from: 16)
            }
            third |= UInt64(bytes.count) << 56
        }

        /// A long key, by its hash and its place.
        init(hash: UInt64, start: Int, count: Int) {
            first = hash
            second = UInt64(start)
            third = UInt64(count) | Self.long << 56
        }

        var isLong: Bool { third >> 56 == Self.long }
        var count: Int { Int(truncatingIfNeeded: third & 0xFFFF_FFFF) }
    }

    private struct Slot: Sendable {
        /// The key's number and one; 0 where nothing is.
        var number: UInt32
        var key: Key
    }

    private let hash = KeyHash()
    /// Always a power of two, and at most three quarters full.
    private var slots = Array(repeating: Slot(number: 0, key: Key()), count: 4)
    private var longKeys: [UInt8] = []
    private var longest = 0

    /// The number of keys.
    private(set) var count = 0

    /// The number of a key, if it was seen.
    func number(_ bytes: Span<UInt8>) -> Int? {
        // A stranger's word that is longer than any key is not hashed.
        guard count > 0, bytes.count <= longest else { return nil }
        let number = slots[slot(bytes)].number
        return number == 0 ? nil : Int(number - 1)
    }

    /// The number of a key, which is a new one if it was not seen.
    mutating func insert(_ bytes: Span<UInt8>) -> Int {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let place = slot(bytes)
        if slots[place].number != 0 { return Int(slots[place].number - 1) }
        // INVARIANT: a policy's text is at most 128 MiB, so that what is named in it can be counted.
        count += 1
        slots[place] = Slot(number: UInt32(count), key: bytes.count <= Key.limit ? Key(bytes) : keep(bytes))
        longest = max(longest, bytes.count)
        return count - 1
    }

    private mutating func keep(_ bytes: Span<UInt8>) -> Key {
        let key = Key(hash: hash.hash(bytes), start: longKeys.count, count: bytes.count)
        for index in bytes.indices { longKeys.append(bytes[index]) }
        return key
    }

    /// The slot of a key, or the free one where it would go.
    private func slot(_ bytes: Span<UInt8>) -> Int {
        let mask = slots.count - 1
        if bytes.count <= Key.limit {
            let key = Key(bytes)
            var place = Int(truncatingIfNeeded: hash(of: key)) & mask
            while slots[place].number != 0, slots[place].key != key { place = (place + 1) & mask }
            return place
        }
        let hash = hash.hash(bytes)
        var place = Int(truncatingIfNeeded: hash) & mask
        while slots[place].number != 0, !isLong(slots[place].key, bytes, hash) { place = (place + 1) & mask }
        return place
    }

    private func isLong(_ key: Key, _ bytes: Span<UInt8>, _ hash: UInt64) -> Bool {
        guard key.isLong, key.first == hash, key.count == bytes.count else { return false }
        let start = Int(key.second)
        return longKeys.span.extracting(start..<(start + key.count)).isSame(bytes)
    }

    private func hash(of key: Key) -> UInt64 {
        key.isLong ? key.first : hash.hash(key.first, key.second, key.third)
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(number: 0, key: Key()), count: old.count * 2)
        let mask = slots.count - 1
        for slot in old where slot.number != 0 {
            var place = Int(truncatingIfNeeded: hash(of: slot.key)) & mask
            while slots[place].number != 0 { place = (place + 1) & mask }
            slots[place] = slot
        }
    }
}
