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
    private var programs = ByteTable()
    /// The literal arguments that are edges.
    private var words = ByteTable()
    /// Children by a node and the number of a literal that is not its first, or of a directory.
    private var literalEdges = EdgeTable()
    private var pathEdges = EdgeTable()
    private var directories = DirectoryTree()

    /// The number of patterns, each of which is counted once.
    private(set) var count = 0

    // MARK: Building

    /// The number of a pattern, which is a new one if it was not seen.
    mutating func insert(_ pattern: CommandPattern) -> Int {
        let program = programs.insert(pattern.program.bytes.span)
        nodes.makeRoot(of: program)
        var node = Nodes.root(of: program)
        var depth = 0
        while true {
            let waiting = nodes[node].waiting
            if waiting == Node.free {
                nodes[node].waiting = UInt32(count)
                nodes[node].rest = tokens.append(pattern.arguments[depth...], takesMore: pattern.takesMore)
                return newPattern()
            }
            if waiting != Node.passed {
                let rest = nodes[node].rest
                if tokens.isSame(rest, pattern.arguments[depth...], takesMore: pattern.takesMore) {
                    return Int(waiting)
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
        guard end == Node.none else { return Int(end) }
        if pattern.takesMore {
            nodes[node].more = UInt32(count)
        } else {
            nodes[node].exact = UInt32(count)
        }
        return newPattern()
    }

    private mutating func newPattern() -> Int {
        count += 1
        return count - 1
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

    /// Adds the patterns that match a program, its path normalised, with arguments: all words but the first.
    ///
    /// Each node is visited at most once, and each word is looked up once for a kind of token, however many nodes ask.
    func match(_ program: ByteText, _ command: [ByteText], _ found: inout FewNumbers) {
        guard let program = programs.number(program.bytes.span) else { return }
        var level = FewNumbers(Nodes.root(of: program))
        var next = FewNumbers()
        var words = Words(command)
        var depth = 0
        while !level.isEmpty {
            let isEnd = depth == words.count
            for place in 0..<level.count {
                let number = level[place]
                let node = nodes[number]
                if node.waiting != Node.passed {
                    // INVARIANT: a node is made for a pattern, so one waits here.
                    if tokens.match(node.rest, from: depth, &words) { found.append(node.waiting) }
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

/// The tokens of patterns one after the other in one array, so that what is compared together lies together.
private struct TokenText: Sendable {
    /// What the first byte of a token says; of the last two, a length and the bytes follow.
    private enum Kind: UInt8 {
        case end
        case more
        case integer
        case word
        case literal
        case path
    }

    enum Token {
        case argument(CommandPattern.Argument)
        case end
        case more
    }

    private static let headSize = 5

    private var bytes: [UInt8] = []

    /// Adds tokens and their end; where they stand.
    mutating func append(_ arguments: ArraySlice<CommandPattern.Argument>, takesMore: Bool) -> UInt32 {
        // INVARIANT: a policy's text is at most 128 MiB, so that what is named in it fits.
        let start = UInt32(bytes.count)
        for argument in arguments {
            switch argument {
            case .integer: bytes.append(Kind.integer.rawValue)
            case .word: bytes.append(Kind.word.rawValue)
            case .literal(let literal): append(.literal, literal)
            case .path(let directory): append(.path, directory)
            }
        }
        bytes.append((takesMore ? Kind.more : .end).rawValue)
        return start
    }

    private mutating func append(_ kind: Kind, _ text: ByteText) {
        bytes.append(kind.rawValue)
        for step in UInt32(0)..<4 { bytes.append(UInt8(truncatingIfNeeded: UInt32(text.count) >> (step * 8))) }
        bytes.append(contentsOf: text.bytes)
    }

    /// The token at a place, and the place of the next one.
    subscript(_ place: UInt32) -> (token: Token, next: UInt32) {
        let place = Int(place)
        switch kind(place) {
        case .end: return (.end, UInt32(place))
        case .more: return (.more, UInt32(place))
        case .integer: return (.argument(.integer), UInt32(place + 1))
        case .word: return (.argument(.word), UInt32(place + 1))
        case .literal:
            let text = text(place)
            return (.argument(.literal(ByteText(Array(bytes[text])))), UInt32(text.upperBound))
        case .path:
            let text = text(place)
            return (.argument(.path(ByteText(Array(bytes[text])))), UInt32(text.upperBound))
        }
    }

    /// Whether the tokens from a place on are these.
    func isSame(_ place: UInt32, _ arguments: ArraySlice<CommandPattern.Argument>, takesMore: Bool) -> Bool {
        var place = Int(place)
        for argument in arguments {
            switch (kind(place), argument) {
            case (.integer, .integer), (.word, .word): place += 1
            case (.literal, .literal(let text)), (.path, .path(let text)):
                let its = self.text(place)
                guard isEqual(its, text) else { return false }
                place = its.upperBound
            default: return false
            }
        }
        return kind(place) == (takesMore ? .more : .end)
    }

    /// Whether words from one on are what the tokens from a place on say.
    func match(_ place: UInt32, from first: Int, _ words: inout Words) -> Bool {
        var place = Int(place)
        var depth = first
        while true {
            let kind = kind(place)
            if kind == .more { return true }
            guard depth < words.count else { return kind == .end }
            switch kind {
            case .end, .more: return false
            case .integer:
                guard words.isInteger(depth) else { return false }
                place += 1
            case .word:
                guard words.isWord(depth) else { return false }
                place += 1
            case .literal:
                let text = text(place)
                guard isEqual(text, words[depth]) else { return false }
                place = text.upperBound
            case .path:
                let text = text(place)
                guard isBeneath(words[depth], text), words.isPlain(depth) else { return false }
                place = text.upperBound
            }
            depth += 1
        }
    }

    private func kind(_ place: Int) -> Kind {
        // INVARIANT: places are of tokens.
        Kind(rawValue: bytes[place]) ?? .end
    }

    /// The bytes of a literal or a directory.
    private func text(_ place: Int) -> Range<Int> {
        let count =
            Int(bytes[place + 1]) | Int(bytes[place + 2]) << 8 | Int(bytes[place + 3]) << 16
            | Int(bytes[place + 4]) << 24
        return (place + Self.headSize)..<(place + Self.headSize + count)
    }

    private func isEqual(_ text: Range<Int>, _ word: ByteText) -> Bool {
        text.count == word.count && isStart(text, of: word)
    }

    private func isStart(_ text: Range<Int>, of word: ByteText) -> Bool {
        guard text.count <= word.count else { return false }
        let own = bytes.span.extracting(text)
        let its = word.bytes.span
        for index in own.indices where own[index] != its[index] { return false }
        return true
    }

    /// As `AbsolutePath.isBeneath`.
    private func isBeneath(_ word: ByteText, _ directory: Range<Int>) -> Bool {
        guard isStart(directory, of: word) else { return false }
        guard directory.count != 1 || bytes[directory.lowerBound] != UInt8(ascii: "/") else { return true }
        return word.count == directory.count || word.bytes[directory.count] == UInt8(ascii: "/")
    }
}

/// A command's arguments, which are its words but the first, with what was found out about the long ones.
private struct Words {
    /// What is found out about a word of no more bytes is not kept.
    private static let shortWord = 64

    private struct Facts {
        var isInteger: Bool?
        var isWord: Bool?
        var isPlain: Bool?
    }

    private let command: [ByteText]
    /// As far as words were looked at.
    private var facts: [Facts] = []
    private var literal: (depth: Int, number: Int?) = (-1, nil)
    private var directories: (depth: Int, numbers: FewNumbers) = (-1, FewNumbers())

    init(_ command: [ByteText]) {
        self.command = command
    }

    var count: Int { max(0, command.count - 1) }

    subscript(_ place: Int) -> ByteText { command[place + 1] }

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
    mutating func directories(_ place: Int, _ tree: borrowing DirectoryTree) -> FewNumbers {
        if directories.depth != place {
            directories = (place, isPlain(place) ? tree.directories(of: self[place].bytes.span) : FewNumbers())
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
