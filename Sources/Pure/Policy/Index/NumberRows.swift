// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Numbers rows of numbers from 0 on, in the order in which they are first seen.
struct NumberRows {
    private let keys = KeyHash()
    private var numbers: [UInt32] = []
    /// Where each row ends.
    private var ends: [Int] = []
    private var slots = HashSlots()

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
        let hash = hash(row)
        if let known = slots.number(hash, where: { isSame($0, row) }) { return known }
        slots.insert(hash)
        numbers.append(contentsOf: row)
        ends.append(numbers.count)
        return count - 1
    }

    private func hash(_ row: [UInt32]) -> UInt64 {
        var hash = UInt64(row.count)
        var place = 0
        while place + 1 < row.count {
            hash = keys.hash(hash ^ (UInt64(row[place]) | UInt64(row[place + 1]) << 32))
            place += 2
        }
        if place < row.count { hash = keys.hash(hash ^ UInt64(row[place])) }
        return hash
    }
}
