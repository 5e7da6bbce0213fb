// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Finds the numbers of keys by their hashes. Keys are numbered from 0 on, in the order in which they come; they lie with
/// the caller, who compares them in full.
package struct HashSlots: Sendable {
    private struct Slot: Sendable {
        /// The key's number and one; 0 where nothing is.
        var number: UInt32
        /// Of the key's hash what is looked at before the key itself.
        var hash: UInt32
    }

    /// Always a power of two, and at most three quarters full.
    private var slots: [Slot]
    /// The number of keys.
    package private(set) var count = 0

    /// An empty one, with room for so many keys.
    package init(expecting count: Int = 0) {
        var size = 4
        while size * 3 < (count + 1) * 4 { size *= 2 }
        slots = Array(repeating: Slot(number: 0, hash: 0), count: size)
    }

    /// The number of a key, if it has come.
    ///
    /// - Parameters:
    ///   - hash: the key's.
    ///   - isSame: whether the key of a number is this one.
    package func number(_ hash: UInt64, where isSame: (Int) -> Bool) -> Int? {
        let hash = UInt32(truncatingIfNeeded: hash)
        let mask = slots.count - 1
        var place = Int(hash) & mask
        while slots[place].number != 0 {
            let number = Int(slots[place].number - 1)
            if slots[place].hash == hash, isSame(number) { return number }
            place = (place + 1) & mask
        }
        return nil
    }

    /// Gives the next number to a key that has not come.
    package mutating func insert(_ hash: UInt64) {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        count += 1
        // INVARIANT: a policy's text is at most 128 MiB, so that what is in it can be counted.
        put(Slot(number: UInt32(count), hash: UInt32(truncatingIfNeeded: hash)))
    }

    private mutating func put(_ slot: Slot) {
        let mask = slots.count - 1
        var place = Int(slot.hash) & mask
        while slots[place].number != 0 { place = (place + 1) & mask }
        slots[place] = slot
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(number: 0, hash: 0), count: old.count * 2)
        for slot in old where slot.number != 0 { put(slot) }
    }
}
