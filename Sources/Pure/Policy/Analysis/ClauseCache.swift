// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// What clauses of a kind come to, so that the rules whose clauses are written alike share the work.
///
/// A set is known by its identity, never by what it holds: of two policies both may have a set of a name.
struct ClauseCache<Item: Sendable & Hashable, Value: Sendable>: Sendable {
    private struct Key: Sendable, Hashable {
        var literal: [Item]
        var sets: [ObjectIdentifier]
    }

    /// What a clause comes to; two clauses of one number come to the same.
    struct Known: Sendable {
        let number: Int
        let value: Value
        /// The sets are kept, so that no other takes the identity of one.
        fileprivate let sets: [NamedSet<[Item]>]
    }

    private var known: [Key: Known] = [:]

    /// What is known of a clause: a look costs a step for each literal item.
    func find(_ literal: [Item], _ sets: [NamedSet<[Item]>]) -> Known? {
        known[Key(literal: literal, sets: sets.map { ObjectIdentifier($0) })]
    }

    mutating func add(_ literal: [Item], _ sets: [NamedSet<[Item]>], _ value: Value) -> Known {
        let made = Known(number: known.count, value: value, sets: sets)
        known[Key(literal: literal, sets: sets.map { ObjectIdentifier($0) })] = made
        return made
    }
}
