// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers rows of numbers from 0 on, in the order in which they are first seen.
struct NumberRows {
    private struct Slot {
        /// The row's number and one; 0 where nothing is.
        var row: UInt32
        var hash: UInt32
    }

    private let keys = KeyHash()
    private var numbers: [UInt32] = []
    /// Where each row ends.
    private var ends: [Int] = []
    /// Always a power of two, and at most three quarters full.
    private var slots = Array(repeating: Slot(row: 0, hash: 0), count: 4)

    /// The number of rows.
    var count: Int { ends.count }

    /// A number of a row.
    func number(_ row: Int, _ place: Int) -> UInt32 { numbers[start(row) + place] }

    private func start(_ row: Int) -> Int { row == 0 ? 0 : ends[row - 1] }

    private func isSame(_ row: Int, _ other: [UInt32]) -> Bool {
        let start = start(row)
        guard ends[row] - start == other.count else { return false }
        for place in other.indices where numbers[start + place] != other[place] { return false }
        return true
    }

    /// The number of a row, which is a new one if it was not seen.
    mutating func insert(_ row: [UInt32]) -> Int {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        let hash = hash(row)
        let mask = slots.count - 1
        var place = Int(hash) & mask
        while slots[place].row != 0 {
            let known = Int(slots[place].row - 1)
            if slots[place].hash == hash, isSame(known, row) { return known }
            place = (place + 1) & mask
        }
        numbers.append(contentsOf: row)
        ends.append(numbers.count)
        // INVARIANT: a policy's text is at most 128 MiB, so that what is in it can be counted.
        slots[place] = Slot(row: UInt32(count), hash: hash)
        return count - 1
    }

    private func hash(_ row: [UInt32]) -> UInt32 {
        var hash = UInt64(row.count)
        var place = 0
        while place + 1 < row.count {
            hash = keys.hash(hash ^ (UInt64(row[place]) | UInt64(row[place + 1]) << 32))
            place += 2
        }
        if place < row.count { hash = keys.hash(hash ^ UInt64(row[place])) }
        return UInt32(truncatingIfNeeded: hash)
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(row: 0, hash: 0), count: old.count * 2)
        let mask = slots.count - 1
        for slot in old where slot.row != 0 {
            var place = Int(slot.hash) & mask
            while slots[place].row != 0 { place = (place + 1) & mask }
            slots[place] = slot
        }
    }
}
