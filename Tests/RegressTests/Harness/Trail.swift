// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// One line of the trail, as a reader of audit lines sees it; the product's own reader is not used.
struct TrailLine: CustomStringConvertible {
    var type: String
    var fields: [String: String]
    var text: String

    subscript(name: String) -> String? { fields[name] }
    var description: String { text }

    /// Splits a line into its fields: blanks separate, a value can be quoted, and msg='…' holds fields of its own.
    init(_ text: String) {
        self.text = text
        fields = [:]
        for word in Self.words(text) {
            guard let sign = word.firstIndex(of: "=") else { continue }
            let name = String(word[..<sign])
            var value = String(word[word.index(after: sign)...])
            if value.hasPrefix("'") {
                for inner in Self.words(String(value.dropFirst().dropLast())) {
                    guard let sign = inner.firstIndex(of: "=") else { continue }
                    fields[String(inner[..<sign])] = Self.decoded(String(inner[inner.index(after: sign)...]))
                }
                value = ""
            }
            if fields[name] == nil { fields[name] = Self.decoded(value) }
        }
        type = fields["type"] ?? "?"
    }

    /// libaudit's encoding of untrusted values: quoted, or bare upper-case hexadecimal.
    private static let encoded: Set<String> = ["acct", "cmd", "program", "exe", "ruser", "file", "errors"]

    private static func decoded(_ value: String) -> String {
        value.hasPrefix("\"") ? String(value.dropFirst().dropLast()) : value
    }

    /// An encoded field's value as text, where it was written in hexadecimal too.
    func value(_ name: String) -> String? {
        guard let raw = fields[name] else { return nil }
        guard Self.encoded.contains(name), !text.contains("\(name)=\"") else { return raw }
        return Hexadecimal.bytes(raw.utf8).map { String(decoding: $0, as: UTF8.self) } ?? raw
    }

    private static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var quote: Character?
        for character in text {
            if let open = quote {
                word.append(character)
                if character == open { quote = nil }
            } else if character == " " {
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(character)
                // A quote of the other kind inside msg='…' belongs to an inner value.
                if character == "'" || (character == "\"" && !word.contains("'")) { quote = character }
            }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }
}
