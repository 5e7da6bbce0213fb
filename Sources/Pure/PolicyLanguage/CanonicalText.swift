// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Policy

/// What has a canonical text: an item of a set or of a clause.
protocol CanonicalItem: Sendable {
    /// Appends the text.
    func write(to out: inout [UInt8])
}

extension NetworkItem: CanonicalItem {
    func write(to out: inout [UInt8]) {
        switch self {
        case .block(let block): block.write(to: &out)
        case .set(let name): out.append(set: name)
        case .any: out.append(contentsOf: "any".utf8)
        }
    }
}

extension UserItem: CanonicalItem {
    func write(to out: inout [UInt8]) {
        switch self {
        case .name(let name):
            if Self.isWord(name) { out.append(quoted: name.bytes) } else { out += name.bytes }
        case .group(let group):
            let text = [UInt8(ascii: "%")] + group.bytes
            if text.allSatisfy({ Lexer.isWord($0) }) { out += text } else { out.append(quoted: text) }
        case .set(let name): out.append(set: name)
        case .same: out.append(contentsOf: "same".utf8)
        case .pool(let name): out.append(contentsOf: "pool \(name)".utf8)
        case .any: out.append(contentsOf: "any".utf8)
        }
    }

    /// Whether an account is called like a word of the language.
    private static func isWord(_ name: UserName) -> Bool {
        switch name.bytes.count {
        case 3: name.bytes.elementsEqual("any".utf8)
        case 4: name.bytes.elementsEqual("same".utf8) || name.bytes.elementsEqual("pool".utf8)
        default: false
        }
    }
}

extension CommandItem: CanonicalItem {
    func write(to out: inout [UInt8]) {
        switch self {
        case .pattern(let pattern):
            out.append(UInt8(ascii: "\""))
            let start = out.count
            pattern.write(to: &out)
            out.escape(from: start)
            out.append(UInt8(ascii: "\""))
        case .set(let name): out.append(set: name)
        case .shell: out.append(contentsOf: "shell".utf8)
        case .any: out.append(contentsOf: "any".utf8)
        }
    }
}

extension HoursItem: CanonicalItem {
    func write(to out: inout [UInt8]) {
        switch self {
        case .range(let range): range.write(to: &out)
        case .set(let name): out.append(set: name)
        }
    }
}

extension RuleSyntax {
    /// What stands in most rules, as bytes: to go through the text of each word for each rule takes longer than all
    /// else of writing it.
    private enum Words {
        static let permit = Array("permit ".utf8)
        static let forbid = Array("forbid ".utf8)
        static let from = Array(" from ".utf8)
        static let by = Array(" by ".utf8)
        static let target = Array(" as ".utf8)
        static let run = Array(" run ".utf8)
        static let during = Array(" during ".utf8)
        static let sandbox = Array(" sandbox ".utf8)
        static let selfTrust = Array(" self-trust".utf8)
        static let rexec = Array(Service.rexec.name.utf8)
        static let rsh = Array(Service.rsh.name.utf8)
        static let any = Array(ServiceScope.any.name.utf8)
    }

    /// Writes the rule's canonical text, its clauses in the one order; a line that is too long is broken before them.
    func write(to layout: inout Layout) {
        layout.text += effect == .permit ? Words.permit : Words.forbid
        layout.text.append(contentsOf: name.value.utf8)
        layout.text.append(UInt8(ascii: ":"))
        layout.text.append(UInt8(ascii: " "))
        switch services {
        case .only(.rexec): layout.text += Words.rexec
        case .only(.rsh): layout.text += Words.rsh
        case .any: layout.text += Words.any
        }
        layout.endPart()
        layout.write(Words.from, sources)
        layout.write(Words.by, remoteUsers)
        layout.write(Words.target, targets)
        layout.write(Words.run, commands)
        layout.write(Words.during, hours)
        if let sandbox {
            layout.text += Words.sandbox
            layout.text.append(contentsOf: sandbox.value.utf8)
            layout.endPart()
        }
        if selfTrust {
            layout.text += Words.selfTrust
            layout.endPart()
        }
    }
}

extension SetSyntax where Item: CanonicalItem {
    /// The set's canonical text, by the word of its kind.
    func layout(_ word: String) -> Layout {
        var layout = Layout(.list, parts: items.count + 1)
        layout.text.append(contentsOf: "\(word) \(name.value) =".utf8)
        layout.endPart()
        for item in items {
            item.value.write(to: &layout.text)
            layout.endPart(item.span)
        }
        return layout
    }
}

extension Layout {
    /// A clause, if it is there: one item, or `{ a, b }`.
    fileprivate mutating func write<Item: CanonicalItem>(_ word: [UInt8], _ clause: ClauseSyntax<Item>) {
        guard clause.isThere else { return }
        text += word
        if clause.items.count == 1 {
            clause.items[0].value.write(to: &text)
        } else {
            var separator = "{ "
            for item in clause.items {
                text.append(contentsOf: separator.utf8)
                item.value.write(to: &text)
                separator = ", "
            }
            text.append(contentsOf: " }".utf8)
        }
        endPart()
    }
}

extension [UInt8] {
    /// Appends `@NAME`.
    fileprivate mutating func append(set name: String) {
        append(UInt8(ascii: "@"))
        append(contentsOf: name.utf8)
    }

    /// Appends bytes as a text in quotes.
    fileprivate mutating func append(quoted text: [UInt8]) {
        append(UInt8(ascii: "\""))
        let start = count
        append(contentsOf: text)
        escape(from: start)
        append(UInt8(ascii: "\""))
    }

    /// Puts a backslash before each quote and backslash behind a place.
    fileprivate mutating func escape(from start: Int) {
        guard self[start...].contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else { return }
        let plain = Array(self[start...])
        removeLast(plain.count)
        for byte in plain {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { append(UInt8(ascii: "\\")) }
            append(byte)
        }
    }
}
