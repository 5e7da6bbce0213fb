// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Some of the rules that a search avoids, by their places.
struct AvoidedRules: Sendable, Hashable {
    private var words: [UInt64]

    /// None of so many rules.
    init(noneOf count: Int) {
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    /// All of so many rules.
    init(allOf count: Int) {
        self.init(noneOf: count)
        for index in 0..<count { insert(index) }
    }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    mutating func insert(_ index: Int) {
        words[index >> 6] |= 1 << UInt64(index & 63)
    }

    mutating func formUnion(_ other: Self) {
        for index in words.indices { words[index] |= other.words[index] }
    }

    func intersection(_ other: Self) -> Self {
        var out = self
        for index in words.indices { out.words[index] &= other.words[index] }
        return out
    }

    func isSubset(of other: Self) -> Bool {
        words.indices.allSatisfy { words[$0] & ~other.words[$0] == 0 }
    }

    /// The places, in order.
    var members: [Int] {
        var out: [Int] = []
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                out.append(index << 6 | rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return out
    }
}

/// One value of a kind that every rule of a search matches alike, with the avoided rules that match it.
struct Atom<Value> {
    var value: Value
    var matched: AvoidedRules
}

extension PolicyAnalysis {
    /// The atoms that no other makes needless by being matched by fewer of the avoided rules; of equals the first.
    ///
    /// - Parameter name: where two choices must differ in a name, one atom is kept for each of two names.
    mutating func least<Value, Name: Equatable>(
        _ atoms: [Atom<Value>], differingIn name: (Value) -> Name
    ) throws(WorkLimitReached) -> [Atom<Value>] {
        try least(atoms) { kept, atom in
            var first: Name?
            for other in kept where other.matched.isSubset(of: atom.matched) {
                let known = name(other.value)
                // It serves wherever this one does, or one of the two does.
                if known == name(atom.value) || (first != nil && known != first) { return true }
                first = known
            }
            return false
        }
    }

    /// The atoms that no other makes needless by being matched by fewer of the avoided rules; of equals the first.
    mutating func least<Value>(_ atoms: [Atom<Value>]) throws(WorkLimitReached) -> [Atom<Value>] {
        try least(atoms) { kept, atom in kept.contains { $0.matched.isSubset(of: atom.matched) } }
    }

    private mutating func least<Value>(
        _ atoms: [Atom<Value>], isNeedless: ([Atom<Value>], Atom<Value>) -> Bool
    ) throws(WorkLimitReached) -> [Atom<Value>] {
        guard atoms.count > 1 else { return atoms }
        let order = atoms.enumerated().map { (count: $1.matched.count, offset: $0) }.sorted { $0 < $1 }
        var kept: [Atom<Value>] = []
        for (_, offset) in order {
            try step(kept.count + 1)
            if !isNeedless(kept, atoms[offset]) { kept.append(atoms[offset]) }
        }
        return kept
    }

    /// Every choice of one atom of each; what avoids nothing more than another choice is left out.
    mutating func product<One, Other, Value>(
        _ ones: [Atom<One>], _ others: [Atom<Other>], _ join: (One, Other) -> Value?
    ) throws(WorkLimitReached) -> [Atom<Value>] {
        var out: [Atom<Value>] = []
        for one in ones {
            for other in others {
                try step(1)
                guard let value = join(one.value, other.value) else { continue }
                let atom = Atom(value: value, matched: one.matched.intersection(other.matched))
                if atom.matched.isEmpty { return [atom] }
                out.append(atom)
            }
        }
        return try least(out)
    }
}
