// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The children of a tree's nodes, by the node and the number of an edge.
struct EdgeTable: Sendable {
    private struct Edge: Sendable {
        let node: UInt32
        let number: UInt32
        /// 0 where nothing is, as the root of a tree is no child.
        let child: UInt32

        static let none = Edge(node: 0, number: 0, child: 0)
    }

    private let keys = KeyHash()
    /// Always a power of two, and at most half full.
    private var slots: [Edge] = Array(repeating: .none, count: 4)
    private var count = 0

    /// The child at an edge; nil if there is none.
    func child(of node: UInt32, _ number: UInt32) -> UInt32? {
        let edge = slots[slot(node, number)]
        return edge.child == 0 ? nil : edge.child
    }

    /// Adds an edge that is not there.
    mutating func insert(_ child: UInt32, of node: UInt32, _ number: UInt32) {
        if (count + 1) * 2 > slots.count { grow() }
        slots[slot(node, number)] = Edge(node: node, number: number, child: child)
        count += 1
    }

    /// The slot of an edge, or the free one where it would go.
    private func slot(_ node: UInt32, _ number: UInt32) -> Int {
        let mask = slots.count - 1
        var place = Int(truncatingIfNeeded: keys.hash(UInt64(node) << 32 | UInt64(number))) & mask
        while slots[place].child != 0, slots[place].node != node || slots[place].number != number {
            place = (place + 1) & mask
        }
        return place
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: .none, count: old.count * 2)
        for edge in old where edge.child != 0 { slots[slot(edge.node, edge.number)] = edge }
    }
}
