// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A parsed hosts.equiv, .rhosts or central trust file.
///
/// Parsing is all or nothing: one line that is never honoured rejects the whole file, because what an administrator
/// meant by the other lines cannot be known (docs/host-trust.md; the C libraries' readings of such lines differ).
public struct TrustFile: Sendable, Hashable {
    /// The most bytes of a file.
    public static let sizeLimit = 65_536
    /// The most bytes of a line, without its line end.
    public static let lineLimit = 1_024

    /// Which fields a line has.
    public enum Grammar: Sendable, Hashable {
        /// `HOST [USER]`: hosts.equiv and .rhosts.
        case hostsEquiv
        /// `HOST REMOTE-USER LOCAL-USER`: the central file.
        case central
    }

    /// The lines that say something, in the order in which they stand.
    public let entries: [TrustEntry]

    /// Parses the bytes of a file.
    ///
    /// - Throws: `TrustFileError` with the first line that rejects the file.
    public init(
        _ bytes: some Collection<UInt8>, grammar: Grammar = .hostsEquiv, names: ServiceSettings.Names
    ) throws(TrustFileError) {
        guard bytes.count <= Self.sizeLimit else { throw TrustFileError(line: 0, .fileTooLong) }
        var entries: [TrustEntry] = []
        for (number, line) in Self.lines(bytes) {
            let parser = TrustLineParser(number: number, grammar: grammar, names: names)
            if let entry = try parser.entry(line) { entries.append(entry) }
        }
        self.entries = entries
    }

    /// The lines with their numbers, from 1, and without their ends.
    static func lines(_ bytes: some Collection<UInt8>) -> [(number: Int, text: [UInt8])] {
        // INVARIANT: the bytes are at most sizeLimit, and so are the lines but one.
        let lines = Array(bytes).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return lines.enumerated().map { index, line in
            (index + 1, Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line))
        }
    }
}

/// The grammar of one line.
struct TrustLineParser {
    let number: Int
    let grammar: TrustFile.Grammar
    let names: ServiceSettings.Names

    func entry(_ text: [UInt8]) throws(TrustFileError) -> TrustEntry? {
        guard text.count <= TrustFile.lineLimit else { throw error(.lineTooLong) }
        guard text.allSatisfy({ $0 == UInt8(ascii: "\t") || ($0 >= 0x20 && $0 != 0x7F) }) else {
            throw error(.controlByte)
        }
        let fields = try fields(text)
        var rest = fields[...]
        guard let hostField = rest.popFirst() else { return nil }
        if let first = text.first, Self.isBlank(first) { throw error(.leadingBlank) }
        let most = grammar == .central ? 3 : 2
        guard fields.count <= most else { throw error(.tooManyFields) }
        guard grammar == .hostsEquiv || fields.count == most else { throw error(.tooFewFields) }

        let (host, deniesHost) = try host(hostField)
        var user = TrustUser.unstated
        if let field = rest.popFirst() { user = try self.user(field) }
        var localUser: ByteText?
        if let field = rest.popFirst() { localUser = try self.localUser(field) }
        return TrustEntry(line: number, host: host, deniesHost: deniesHost, user: user, localUser: localUser)
    }

    private func error(_ problem: TrustFileError.Problem) -> TrustFileError {
        TrustFileError(line: number, problem)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    /// The fields before a comment, which is a `#` that starts a field, and all that follows it.
    private func fields(_ text: [UInt8]) throws(TrustFileError) -> [[UInt8]] {
        var fields: [[UInt8]] = []
        for field in text.split(whereSeparator: Self.isBlank) {
            if field.first == UInt8(ascii: "#") { break }
            guard !field.contains(UInt8(ascii: "#")) else { throw error(.commentInField) }
            fields.append(Array(field))
        }
        return fields
    }

    // MARK: Hosts

    private func host(_ field: [UInt8]) throws(TrustFileError) -> (TrustHost, denies: Bool) {
        let (name, denies) = try signed(field)
        if let percent = name.firstIndex(of: UInt8(ascii: "%")) {
            let interface = ByteText(Array(name[percent...].dropFirst()))
            guard let address = IPAddress.canonical(Array(name[..<percent])) else { throw error(.addressForm) }
            guard address.isLinkLocal, HostName.isInterface(interface.bytes) else { throw error(.scope) }
            return (.linkLocal(address, interface: interface), denies)
        }
        if let address = IPAddress.canonical(name) {
            guard !address.isLinkLocal else { throw error(.linkLocalWithoutScope) }
            return (.address(address), denies)
        }
        guard !HostName.looksLikeAddress(name) else { throw error(.addressForm) }
        guard HostName.isHostName(name) else { throw error(.notAHost) }
        guard names != .refuse else { throw error(.nameRefused) }
        return (.name(ByteText(HostName.lowercased(name))), denies)
    }

    // MARK: Users

    private func user(_ field: [UInt8]) throws(TrustFileError) -> TrustUser {
        let (name, denies) = try signed(field)
        return denies ? .denied(ByteText(name)) : .named(ByteText(name))
    }

    private func localUser(_ field: [UInt8]) throws(TrustFileError) -> ByteText {
        let (name, denies) = try signed(field)
        guard !denies else { throw error(.localUser) }
        return ByteText(name)
    }

    /// A field without its leading `-`, and whether it had one; wildcards and netgroups end here.
    private func signed(_ field: [UInt8]) throws(TrustFileError) -> ([UInt8], denies: Bool) {
        let denies = field.first == UInt8(ascii: "-")
        let name = denies ? Array(field.dropFirst()) : field
        if field.starts(with: [UInt8(ascii: "+"), UInt8(ascii: "@")]) || name.first == UInt8(ascii: "@") {
            throw error(.netgroup)
        }
        guard !field.contains(UInt8(ascii: "+")) else { throw error(.wildcard) }
        guard !name.isEmpty else { throw error(.bareMinus) }
        return (name, denies)
    }
}
