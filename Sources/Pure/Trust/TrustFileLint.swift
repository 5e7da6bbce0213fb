// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// What each line of a trust file says, for people who have to mend one: `TrustFile` stops at the first line that
/// rejects the file, this goes on to the end.
///
/// It decides nothing; the two agree on which files are rejected, and on the line.
public struct TrustFileLint: Sendable, Hashable {
    /// A line that says something.
    public struct Line: Sendable, Hashable {
        /// The line, from 1.
        public let number: Int
        /// Its bytes, without the line end; a stranger's.
        public let text: ByteText
        /// What it says.
        public let finding: Finding
    }

    /// What a line says.
    public enum Finding: Sendable, Hashable {
        /// It is of the grammar.
        case entry(TrustEntry)
        /// It is of the grammar, but this earlier line always decides before it.
        case shadowed(TrustEntry, by: Int)
        /// It rejects the whole file.
        case rejects(TrustFileError)
    }

    /// The lines, without comments and empty ones.
    public let lines: [Line]
    /// Why the file is rejected; nil where it is not.
    public let rejection: TrustFileError?

    /// Judges the bytes of a file.
    public init(
        _ bytes: some Collection<UInt8>, grammar: TrustFile.Grammar = .hostsEquiv, names: ServiceSettings.Names
    ) {
        guard bytes.count <= TrustFile.sizeLimit else {
            lines = []
            rejection = TrustFileError(line: 0, .fileTooLong)
            return
        }
        var lines: [Line] = []
        var first = FirstLines()
        var rejection: TrustFileError?
        for (number, text) in TrustFile.lines(bytes) {
            let parser = TrustLineParser(number: number, grammar: grammar, names: names)
            let finding: Finding
            do throws(TrustFileError) {
                guard let entry = try parser.entry(text) else { continue }
                finding = first.line(before: entry).map { .shadowed(entry, by: $0) } ?? .entry(entry)
            } catch {
                rejection = rejection ?? error
                finding = .rejects(error)
            }
            lines.append(Line(number: number, text: ByteText(text), finding: finding))
        }
        self.lines = lines
        self.rejection = rejection
    }
}

/// The first line that speaks of each host and user, in constant time a line: a hostile file is 64 KiB of lines.
private struct FirstLines {
    /// Whom a line speaks of.
    private enum User: Hashable {
        /// A denied host: everybody there.
        case everybody
        /// The local user's namesake.
        case namesake
        case named(ByteText)
    }

    private struct Key: Hashable {
        var host: TrustHost
        var user: User
        var localUser: ByteText?
    }

    private var lines: [Key: TrustEntry] = [:]

    /// The earlier line that decides whatever this one would; where there is none, this one is kept.
    mutating func line(before entry: TrustEntry) -> Int? {
        let user: User =
            switch entry.user {
            case .unstated: entry.denies ? .everybody : .namesake
            case .named(let name), .denied(let name): .named(name)
            }
        let own = Key(host: entry.host, user: user, localUser: entry.localUser)
        let all = Key(host: entry.host, user: .everybody, localUser: entry.localUser)
        if let earlier = lines[all] ?? lines[own], Self.covers(earlier, entry) { return earlier.line }
        lines[own] = entry
        return nil
    }

    /// Whether one line matches wherever another of the same host and user does: a name or an interface that is not
    /// there matches only where the line denies.
    private static func covers(_ earlier: TrustEntry, _ entry: TrustEntry) -> Bool {
        if case .address = entry.host { return true }
        return earlier.denies || !entry.denies
    }
}
