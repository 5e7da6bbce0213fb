// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension CommandPattern {
    /// The pattern of the commands that both match; nil where there are none.
    func meet(_ other: Self) -> Self? {
        guard program == other.program else { return nil }
        let (short, long) = arguments.count <= other.arguments.count ? (self, other) : (other, self)
        guard short.takesMore || short.arguments.count == long.arguments.count else { return nil }
        var met = long
        met.takesMore = takesMore && other.takesMore
        for (index, argument) in short.arguments.enumerated() {
            guard let both = argument.meet(long.arguments[index]) else { return nil }
            met.arguments[index] = both
        }
        return met
    }

    /// Commands that it matches, of which one is matched by as few others as any is, for every such few.
    ///
    /// With `*` one argument more than need be gets round every pattern that says how many there are.
    ///
    /// - Parameter taken: what arguments of patterns say: literals, and the directories of paths.
    func leastCommands(apartFrom taken: Set<ByteText>) -> [RequestedCommand] {
        let words = [program] + arguments.map { $0.leastWord(apartFrom: taken) }
        let found = RequestedCommand.Program(path: program, resolvedPath: program)
        let shortest = RequestedCommand.words(words, program: found)
        guard takesMore else { return [shortest] }
        return [shortest, .words(words + [ByteText.fresh("--other", apartFrom: taken)], program: found)]
    }
}

extension CommandPattern.Argument {
    /// What both match; nil for nothing.
    func meet(_ other: Self) -> Self? {
        switch (self, other) {
        case (.literal(let literal), _): other.matches(literal) ? self : nil
        case (_, .literal(let literal)): matches(literal) ? other : nil
        case (.integer, .integer), (.integer, .word), (.word, .integer): .integer
        case (.word, .word): .word
        case (.path(let mine), .path(let theirs)):
            AbsolutePath.isBeneath(mine, theirs) ? self : AbsolutePath.isBeneath(theirs, mine) ? other : nil
        case (.path, _), (_, .path): nil
        }
    }

    /// An argument that it matches, and that is matched by no token but those that match all of its arguments.
    func leastWord(apartFrom taken: Set<ByteText>) -> ByteText {
        switch self {
        case .literal(let literal): literal
        case .integer: .fresh("", apartFrom: taken)
        case .word: .fresh("word", apartFrom: taken)
        case .path(let directory):
            // One component below: what is no pattern's directory itself is below only those that all of it is below.
            .fresh(ByteText((directory == "/" ? [] : directory.bytes) + Array("/file".utf8)), apartFrom: taken)
        }
    }
}

extension ByteText {
    /// A text that is none of some others: a stem, with a number where it needs one.
    static func fresh(_ stem: ByteText, apartFrom taken: Set<ByteText>) -> ByteText {
        if !stem.isEmpty, !taken.contains(stem) { return stem }
        var number = 1
        while true {
            let text = ByteText(stem.bytes + Array(String(number).utf8))
            if !taken.contains(text) { return text }
            number += 1
        }
    }
}
