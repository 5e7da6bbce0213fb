// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Command patterns by their tokens, so that a command is held against all of them at once.
///
/// A tree for each program, with an edge for each token. A pattern waits at the first node that it has for itself, and
/// the rest of its tokens is compared there.
struct PatternTree: Sendable {
    private struct Node {
        /// The pattern that waits here; or one of the two below.
        var waiting = free
        /// Where the rest of its tokens stands.
        var rest: UInt32 = 0
        /// The pattern that ends here.
        var exact = none
        /// The pattern that ends here with `*`.
        var more = none
        /// Children; 0 for none, as the root of no tree is a child.
        var integer: UInt32 = 0
        var word: UInt32 = 0
        /// The child of the first literal, and its number: along most ways it is the only one.
        var literalChild: UInt32 = 0
        var literal: UInt32 = 0
        var hasMoreLiterals = false
        var hasPaths = false

        /// No pattern has come by.
        static let free: UInt32 = .max
        /// More than one has.
        static let passed: UInt32 = .max - 1
        static let none: UInt32 = .max
    }

    /// The nodes. Roots have their programs' numbers, so that one look finds them, and a bit besides.
    private struct Nodes: Sendable {
        private static let rootBit: UInt32 = 1 << 31

        private var roots: [Node] = []
        /// The first of them is none: 0 is no child.
        private var inner = [Node()]

        static func root(of program: Int) -> UInt32 { UInt32(program) | rootBit }

        mutating func makeRoot(of program: Int) {
            if program == roots.count { roots.append(Node()) }
        }

        mutating func make() -> UInt32 {
            inner.append(Node())
            return UInt32(inner.count - 1)
        }

        subscript(_ number: UInt32) -> Node {
            get { number & Self.rootBit == 0 ? inner[Int(number)] : roots[Int(number & ~Self.rootBit)] }
            set {
                if number & Self.rootBit == 0 {
                    inner[Int(number)] = newValue
                } else {
                    roots[Int(number & ~Self.rootBit)] = newValue
                }
            }
        }
    }

    private var nodes = Nodes()
    /// The tokens of waiting patterns.
    private var tokens = TokenText()
    /// The literal arguments that are edges.
    private var words = ByteTable()
    /// Children by a node and the number of a literal that is not its first, or of a directory.
    private var literalEdges = EdgeTable()
    private var pathEdges = EdgeTable()
    private var directories = DirectoryTree()

    // MARK: Building

    /// Makes room for a program. Programs come in order.
    mutating func makeRoot(of program: Int) {
        nodes.makeRoot(of: program)
    }

    /// The number of a pattern, which is the new one if it was not seen.
    mutating func insert(_ pattern: CommandPattern, of program: Int, as new: UInt32) -> UInt32 {
        var node = Nodes.root(of: program)
        var depth = 0
        while true {
            let waiting = nodes[node].waiting
            if waiting == Node.free {
                nodes[node].waiting = new
                nodes[node].rest = tokens.append(pattern.arguments[depth...], takesMore: pattern.takesMore)
                return new
            }
            if waiting != Node.passed {
                let rest = nodes[node].rest
                if tokens.isSame(rest, pattern.arguments[depth...], takesMore: pattern.takesMore) {
                    return waiting
                }
                nodes[node].waiting = Node.passed
                switch tokens[rest].token {
                case .argument(let argument):
                    let next = child(node, argument)
                    nodes[next].waiting = waiting
                    nodes[next].rest = tokens[rest].next
                case .end: nodes[node].exact = waiting
                case .more: nodes[node].more = waiting
                }
            }
            guard depth < pattern.arguments.count else { break }
            node = child(node, pattern.arguments[depth])
            depth += 1
        }
        let end = pattern.takesMore ? nodes[node].more : nodes[node].exact
        guard end == Node.none else { return end }
        if pattern.takesMore {
            nodes[node].more = new
        } else {
            nodes[node].exact = new
        }
        return new
    }

    private mutating func child(_ node: UInt32, _ token: CommandPattern.Argument) -> UInt32 {
        switch token {
        case .literal(let literal):
            let number = UInt32(words.insert(literal.bytes.span))
            if let child = literalChild(of: node, nodes[node], number) { return child }
            let child = nodes.make()
            if nodes[node].literalChild == 0 {
                nodes[node].literalChild = child
                nodes[node].literal = number
            } else {
                nodes[node].hasMoreLiterals = true
                literalEdges.insert(child, of: node, number)
            }
            return child
        case .integer:
            if nodes[node].integer == 0 { nodes[node].integer = nodes.make() }
            return nodes[node].integer
        case .word:
            if nodes[node].word == 0 { nodes[node].word = nodes.make() }
            return nodes[node].word
        case .path(let directory):
            nodes[node].hasPaths = true
            let number = UInt32(directories.insert(directory))
            if let child = pathEdges.child(of: node, number) { return child }
            let child = nodes.make()
            pathEdges.insert(child, of: node, number)
            return child
        }
    }

    private func literalChild(of number: UInt32, _ node: Node, _ literal: UInt32) -> UInt32? {
        if node.literalChild != 0, node.literal == literal { return node.literalChild }
        return node.hasMoreLiterals ? literalEdges.child(of: number, literal) : nil
    }

    // MARK: Matching

    /// Adds the patterns that match a program with these arguments.
    ///
    /// Each node is visited at most once, and each word is looked up once for a kind of token, however many nodes ask.
    func match(_ program: Int, _ words: inout CommandWords, _ found: inout FewNumbers) {
        let root = Nodes.root(of: program)
        // All patterns of the program may be filed elsewhere.
        guard nodes[root].waiting != Node.free else { return }
        var level = FewNumbers(root)
        var next = FewNumbers()
        var depth = 0
        while !level.isEmpty {
            let isEnd = depth == words.count
            for place in 0..<level.count {
                let number = level[place]
                let node = nodes[number]
                if node.waiting != Node.passed {
                    // INVARIANT: a node but a root is made for a pattern, so one waits here.
                    if tokens.match(node.rest, from: depth, but: nil, &words) { found.append(node.waiting) }
                    continue
                }
                if node.more != Node.none { found.append(node.more) }
                if isEnd {
                    if node.exact != Node.none { found.append(node.exact) }
                    continue
                }
                if node.literalChild != 0, let word = words.literal(depth, self.words),
                    let child = literalChild(of: number, node, UInt32(word))
                {
                    next.append(child)
                }
                if node.integer != 0, words.isInteger(depth) { next.append(node.integer) }
                if node.word != 0, words.isWord(depth) { next.append(node.word) }
                if node.hasPaths {
                    let above = words.directories(depth, directories)
                    for place in 0..<above.count {
                        if let child = pathEdges.child(of: number, above[place]) { next.append(child) }
                    }
                }
            }
            swap(&level, &next)
            next.removeAll()
            depth += 1
        }
    }
}
