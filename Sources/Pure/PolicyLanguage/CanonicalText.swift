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
            // An account that is called like a word of the language.
            let isWord = ["any", "same", "pool"].contains { name.bytes.elementsEqual($0.utf8) }
            if isWord { out.append(quoted: name.bytes) } else { out.append(contentsOf: name.bytes) }
        case .group(let group):
            let text = [UInt8(ascii: "%")] + group.bytes
            if text.allSatisfy({ Lexer.isWord($0) }) { out += text } else { out.append(quoted: text) }
        case .set(let name): out.append(set: name)
        case .same: out.append(contentsOf: "same".utf8)
        case .pool(let name): out.append(contentsOf: "pool \(name)".utf8)
        case .any: out.append(contentsOf: "any".utf8)
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
    /// The rule's canonical text, its clauses in the one order; a line that is too long is broken before them.
    var layout: Layout {
        var layout = Layout(.line, parts: 8)
        layout.text.reserveCapacity(Formatter.width)
        layout.text.append(contentsOf: effect.name.utf8)
        layout.text.append(UInt8(ascii: " "))
        layout.text.append(contentsOf: name.value.utf8)
        layout.text.append(contentsOf: ": ".utf8)
        layout.text.append(contentsOf: services.name.utf8)
        layout.endPart()
        layout.write("from ", sources)
        layout.write("by ", remoteUsers)
        layout.write("as ", targets)
        layout.write("run ", commands)
        layout.write("during ", hours)
        if let sandbox {
            layout.text.append(contentsOf: "sandbox ".utf8)
            layout.text.append(contentsOf: sandbox.value.utf8)
            layout.endPart()
        }
        if selfTrust {
            layout.text.append(contentsOf: "self-trust".utf8)
            layout.endPart()
        }
        return layout
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
    fileprivate mutating func write<Item: CanonicalItem>(_ word: String, _ items: [Located<Item>]?) {
        guard let items else { return }
        text.append(contentsOf: word.utf8)
        if let only = items.first, items.count == 1 {
            only.value.write(to: &text)
        } else {
            var separator = "{ "
            for item in items {
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
