// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// Command patterns by their tokens, so that a command is held against all of them at once.
///
/// A tree for each program, with an edge for each token. A pattern waits at the first node that it has for itself, and
/// the rest of its tokens is compared there.
struct PatternTree: Sendable {
    private struct Node {
        /// The pattern that waits here with the rest of its tokens; or one of the two below.
        var waiting = free
        /// The pattern that ends here.
        var exact = none
        /// The pattern that ends here with `*`.
        var more = none
        /// Children; 0 for none, as the root of no tree is a child.
        var integer: UInt32 = 0
        var word: UInt32 = 0
        var hasLiterals = false
        var hasPaths = false

        /// No pattern has come by.
        static let free: UInt32 = .max
        /// More than one has.
        static let passed: UInt32 = .max - 1
        static let none: UInt32 = .max
    }

    private struct Pattern {
        var arguments: [CommandPattern.Argument]
        var takesMore: Bool
    }

    private var patterns: [Pattern] = []
    private var nodes: [Node] = []
    /// The programs; the root of each.
    private var programs = ByteTable()
    private var roots: [UInt32] = []
    /// The literal arguments that are edges.
    private var words = ByteTable()
    /// Children by a node and the number of a literal, or of a directory.
    private var literalEdges: [UInt64: UInt32] = [:]
    private var pathEdges: [UInt64: UInt32] = [:]
    private var directories = DirectoryTree()

    /// The number of patterns, each of which is counted once.
    var count: Int { patterns.count }

    // MARK: Building

    /// The number of a pattern, which is a new one if it was not seen.
    mutating func insert(_ pattern: CommandPattern) -> Int {
        let program = programs.insert(pattern.program.bytes.span)
        if program == roots.count { roots.append(newNode()) }
        var node = Int(roots[program])
        var depth = 0
        while true {
            let waiting = nodes[node].waiting
            if waiting == Node.free {
                nodes[node].waiting = UInt32(patterns.count)
                return append(pattern)
            }
            if waiting != Node.passed {
                let other = patterns[Int(waiting)]
                if other.takesMore == pattern.takesMore, other.arguments == pattern.arguments { return Int(waiting) }
                nodes[node].waiting = Node.passed
                if depth < other.arguments.count {
                    let next = child(node, other.arguments[depth])
                    nodes[next].waiting = waiting
                } else if other.takesMore {
                    nodes[node].more = waiting
                } else {
                    nodes[node].exact = waiting
                }
            }
            guard depth < pattern.arguments.count else { break }
            node = child(node, pattern.arguments[depth])
            depth += 1
        }
        let end = pattern.takesMore ? nodes[node].more : nodes[node].exact
        guard end == Node.none else { return Int(end) }
        if pattern.takesMore {
            nodes[node].more = UInt32(patterns.count)
        } else {
            nodes[node].exact = UInt32(patterns.count)
        }
        return append(pattern)
    }

    private mutating func append(_ pattern: CommandPattern) -> Int {
        patterns.append(Pattern(arguments: pattern.arguments, takesMore: pattern.takesMore))
        return patterns.count - 1
    }

    private mutating func newNode() -> UInt32 {
        nodes.append(Node())
        return UInt32(nodes.count - 1)
    }

    private mutating func child(_ node: Int, _ token: CommandPattern.Argument) -> Int {
        switch token {
        case .literal(let literal):
            nodes[node].hasLiterals = true
            let edge = Self.edge(node, words.insert(literal.bytes.span))
            if let child = literalEdges[edge] { return Int(child) }
            let child = newNode()
            literalEdges[edge] = child
            return Int(child)
        case .integer:
            if nodes[node].integer == 0 { nodes[node].integer = newNode() }
            return Int(nodes[node].integer)
        case .word:
            if nodes[node].word == 0 { nodes[node].word = newNode() }
            return Int(nodes[node].word)
        case .path(let directory):
            nodes[node].hasPaths = true
            let edge = Self.edge(node, directories.insert(directory))
            if let child = pathEdges[edge] { return Int(child) }
            let child = newNode()
            pathEdges[edge] = child
            return Int(child)
        }
    }

    private static func edge(_ node: Int, _ number: Int) -> UInt64 { UInt64(node) << 32 | UInt64(number) }

    // MARK: Matching

    /// Adds the patterns that match a program, its path normalised, with arguments.
    ///
    /// Each node is visited at most once, and each word is looked up once for a kind of token, however many nodes ask.
    func match(_ program: ByteText, _ arguments: ArraySlice<ByteText>, _ found: inout [UInt32]) {
        guard let program = programs.number(program.bytes.span) else { return }
        var level = Level(roots[program])
        var words = Words(arguments)
        var depth = 0
        while !level.isEmpty {
            let isEnd = depth == arguments.count
            var next = Level()
            for place in 0..<level.count {
                let number = level[place]
                let node = nodes[Int(number)]
                if node.waiting != Node.passed {
                    // INVARIANT: a node is made for a pattern, so one waits here.
                    if matches(patterns[Int(node.waiting)], from: depth, &words) { found.append(node.waiting) }
                    continue
                }
                if node.more != Node.none { found.append(node.more) }
                if isEnd {
                    if node.exact != Node.none { found.append(node.exact) }
                    continue
                }
                if node.hasLiterals, let word = words.literal(depth, self.words),
                    let child = literalEdges[Self.edge(Int(number), word)]
                {
                    next.append(child)
                }
                if node.integer != 0, words.isInteger(depth) { next.append(node.integer) }
                if node.word != 0, words.isWord(depth) { next.append(node.word) }
                if node.hasPaths {
                    for directory in words.directories(depth, directories) {
                        if let child = pathEdges[Self.edge(Int(number), Int(directory))] { next.append(child) }
                    }
                }
            }
            level = next
            depth += 1
        }
    }

    private func matches(_ pattern: Pattern, from depth: Int, _ words: inout Words) -> Bool {
        let tokens = pattern.arguments
        guard pattern.takesMore ? words.count >= tokens.count : words.count == tokens.count else { return false }
        for place in depth..<tokens.count {
            let isMatch =
                switch tokens[place] {
                case .literal(let literal): literal == words[place]
                case .integer: words.isInteger(place)
                case .word: words.isWord(place)
                case .path(let directory): words.isPlain(place) && AbsolutePath.isBeneath(words[place], directory)
                }
            guard isMatch else { return false }
        }
        return true
    }
}

/// The nodes that are reached with as many words: mostly one, for which nothing is allocated.
private struct Level {
    private var first: UInt32 = 0
    private var others: [UInt32] = []
    private(set) var count = 0

    init() {}

    init(_ node: UInt32) {
        append(node)
    }

    var isEmpty: Bool { count == 0 }

    subscript(_ place: Int) -> UInt32 { place == 0 ? first : others[place - 1] }

    mutating func append(_ node: UInt32) {
        if count == 0 { first = node } else { others.append(node) }
        count += 1
    }
}

/// A command's arguments, with what was found out about the long ones.
private struct Words {
    /// What is found out about a word of no more bytes is not kept.
    private static let shortWord = 64

    private struct Facts {
        var isInteger: Bool?
        var isWord: Bool?
        var isPlain: Bool?
    }

    private let words: ArraySlice<ByteText>
    /// As far as words were looked at.
    private var facts: [Facts] = []
    private var literal: (depth: Int, number: Int?) = (-1, nil)
    private var directories: (depth: Int, numbers: [UInt32]) = (-1, [])

    init(_ words: ArraySlice<ByteText>) {
        self.words = words
    }

    var count: Int { words.count }

    subscript(_ place: Int) -> ByteText { words[words.startIndex + place] }

    mutating func literal(_ place: Int, _ table: borrowing ByteTable) -> Int? {
        if literal.depth != place { literal = (place, table.number(self[place].bytes.span)) }
        return literal.number
    }

    mutating func isInteger(_ place: Int) -> Bool {
        guard reach(place) else { return CommandPattern.Argument.integer.matches(self[place]) }
        if let known = facts[place].isInteger { return known }
        let isInteger = CommandPattern.Argument.integer.matches(self[place])
        facts[place].isInteger = isInteger
        return isInteger
    }

    mutating func isWord(_ place: Int) -> Bool {
        guard reach(place) else { return CommandPattern.Argument.word.matches(self[place]) }
        if let known = facts[place].isWord { return known }
        let isWord = CommandPattern.Argument.word.matches(self[place])
        facts[place].isWord = isWord
        return isWord
    }

    mutating func isPlain(_ place: Int) -> Bool {
        guard reach(place) else { return AbsolutePath.isPlain(self[place]) }
        if let known = facts[place].isPlain { return known }
        let isPlain = AbsolutePath.isPlain(self[place])
        facts[place].isPlain = isPlain
        return isPlain
    }

    /// The directories beneath which a word lies, if it is a path.
    mutating func directories(_ place: Int, _ tree: borrowing DirectoryTree) -> [UInt32] {
        if directories.depth != place {
            directories = (place, isPlain(place) ? tree.directories(of: self[place].bytes.span) : [])
        }
        return directories.numbers
    }

    /// Makes room for what is found out about a word; false where it is not kept.
    private mutating func reach(_ place: Int) -> Bool {
        guard self[place].count > Self.shortWord else { return false }
        while facts.count <= place { facts.append(Facts()) }
        return true
    }
}
