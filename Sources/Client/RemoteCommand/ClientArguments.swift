// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
import Linux

/// A client's arguments, taken apart as people type them: options before and after HOST, and then the command, of
/// which every word is the server's, options and all.
public struct ClientArguments: Sendable, Hashable {
    /// Options, one word each, and their values, each in a word of its own.
    public var options: [ByteText] = []
    /// The host.
    public var host: ByteText?
    /// The words of the command.
    public var command: [ByteText] = []
    /// The values of options by their letter, as bytes; a later one replaces an earlier one.
    public var values: [UInt8: ByteText] = [:]
    /// Every value of the options that take a secret: those that a later one replaced are secrets too.
    public var secrets: [ByteText] = []

    /// The command as it is sent: the words with a blank between them.
    public var commandLine: ByteText {
        ByteText(Array(command.map(\.bytes).joined(separator: [UInt8(ascii: " ")])))
    }

    /// The arguments as a parser of texts takes them: options and their values, the host, and the command behind `--`.
    ///
    /// Bytes that are no text come repaired: what is sent is taken from `host`, `values` and `commandLine`. A secret comes
    /// as `*`.
    public var forParser: [String] {
        let positional = (host.map { [$0] } ?? []) + command
        return (options + (positional.isEmpty ? [] : ["--"]) + positional).map {
            String(decoding: $0.bytes, as: UTF8.self)
        }
    }

    /// Takes arguments apart.
    ///
    /// - Parameters:
    ///   - arguments: the words after the program's name.
    ///   - valued: the letters of the options that take a value, in the same word or the next.
    ///   - secret: those of them whose value is a secret; `-` is none.
    public init(_ arguments: [[UInt8]], valued: Set<UInt8>, secret: Set<UInt8> = []) {
        let dash = UInt8(ascii: "-")
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word == [dash, dash] {
                // What follows is no option: the host, where there is none yet, and the command.
                if host == nil { host = rest.popFirst().map { ByteText($0) } }
                command = rest.map { ByteText($0) }
                return
            }
            guard word.count > 1, word.first == dash else {
                guard host == nil else {
                    command = [ByteText(word)] + rest.map { ByteText($0) }
                    return
                }
                host = ByteText(word)
                continue
            }
            guard word.dropFirst().first != dash else {
                options.append(ByteText(word))
                continue
            }
            take(word.dropFirst(), &rest, valued, secret)
        }
    }

    /// Takes a word of short options: `-n`, `-nl`, `-lalice`.
    private mutating func take(
        _ letters: ArraySlice<UInt8>, _ rest: inout ArraySlice<[UInt8]>, _ valued: Set<UInt8>, _ secret: Set<UInt8>
    ) {
        var letters = letters
        while let letter = letters.popFirst() {
            options.append(ByteText([UInt8(ascii: "-"), letter]))
            guard valued.contains(letter) else { continue }
            if letters.isEmpty {
                guard let next = rest.popFirst() else { return }
                letters = next[...]
            }
            let value = ByteText(Array(letters))
            let isSecret = secret.contains(letter) && value != "-"
            if isSecret { secrets.append(value) }
            options.append(isSecret ? "*" : value)
            values[letter] = value
            return
        }
    }

    /// Overwrites the secrets in this process's arguments, where others see them, and lets go of them here, but for the
    /// `values` that count.
    public mutating func hideSecrets() {
        for secret in secrets { Arguments.hide(secret.bytes) }
        secrets = []
    }
}
