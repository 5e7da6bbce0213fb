// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The values that came last: the older half goes when there are twice as many as are kept.
public struct RecentSet<Element: Hashable & Sendable>: Sendable {
    /// How many are kept at least.
    public let limit: Int

    private var values: Set<Element> = []
    private var order: [Element] = []

    /// None yet.
    ///
    /// - Parameter limit: how many are kept at least, from 1.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Whether it is one of them.
    public func contains(_ value: Element) -> Bool { values.contains(value) }

    /// Takes one in; false where it is one of them.
    @discardableResult
    public mutating func insert(_ value: Element) -> Bool {
        guard values.insert(value).inserted else { return false }
        order.append(value)
        if order.count > 2 * limit {
            for old in order.prefix(limit) { values.remove(old) }
            order.removeFirst(limit)
        }
        return true
    }

    /// The last of them, in the order in which they came.
    public func last(_ count: Int) -> ArraySlice<Element> { order.suffix(count) }
}
