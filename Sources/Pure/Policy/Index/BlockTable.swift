// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Numbers blocks of addresses from 0 on, in the order in which they are first seen, while an index is made.
struct BlockTable {
    /// The blocks, by their numbers.
    private(set) var blocks: [AddressBlock] = []

    private let hash = KeyHash()
    private var slots: HashSlots

    /// An empty one, with room for so many.
    init(expecting count: Int) {
        blocks.reserveCapacity(count)
        slots = HashSlots(expecting: count)
    }

    /// The number of a block, which is a new one if it was not seen.
    mutating func insert(_ block: AddressBlock) -> Int {
        let hash = hash(of: block)
        if let known = slots.number(hash, where: { blocks[$0] == block }) { return known }
        slots.insert(hash)
        blocks.append(block)
        return blocks.count - 1
    }

    private func hash(of block: AddressBlock) -> UInt64 {
        let value = block.base.value
        let kind = UInt64(block.base.family.rawValue) << 8 | UInt64(block.prefixLength)
        return hash.hash(UInt64(truncatingIfNeeded: value >> 64), UInt64(truncatingIfNeeded: value), kind)
    }

    /// The numbers by their blocks' first addresses, the larger block before the smaller: each comes after those that
    /// hold it. IPv4 stands before IPv6.
    var order: [Int] {
        // Of an IPv4 block first address, length and number fit into one word, and words are sorted in a fraction of the
        // time: unless there are more blocks than any text of 128 MiB holds.
        let fits = blocks.count <= 1 << 26
        var packed: [UInt64] = []
        var wide: [Int] = []
        packed.reserveCapacity(blocks.count)
        for (number, block) in blocks.enumerated() {
            if fits, block.base.family == .v4 {
                let address = UInt64(truncatingIfNeeded: block.base.value)
                packed.append(address << 32 | UInt64(block.prefixLength) << 26 | UInt64(number))
            } else {
                wide.append(number)
            }
        }
        packed.sort()
        wide.sort {
            let (left, right) = (blocks[$0], blocks[$1])
            if left.base != right.base { return left.base < right.base }
            return left.prefixLength < right.prefixLength
        }
        return packed.map { Int($0 & (1 << 26 - 1)) } + wide
    }
}
