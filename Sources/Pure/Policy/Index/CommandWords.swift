// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// A command's arguments, which are its words but the first, with what was found out about the long ones.
struct CommandWords {
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

    /// The number of a word in a table; it is not kept.
    func number(_ place: Int, _ table: borrowing ByteTable) -> Int? {
        table.number(self[place].bytes.span)
    }

    /// The number of a word among the literals of a tree, of which there is one alone.
    mutating func literal(_ place: Int, _ table: borrowing ByteTable) -> Int? {
        if literal.depth != place { literal = (place, number(place, table)) }
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
        guard self[place].bytes.count > Self.shortWord else { return false }
        while facts.count <= place { facts.append(Facts()) }
        return true
    }
}
