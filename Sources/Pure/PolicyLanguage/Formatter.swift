// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Writes statements in their one canonical form.
///
/// A statement a line; a line that would be longer than `width` is broken before a clause; blocks have an item a line;
/// an empty line stands between statements of different kinds and around blocks.
struct Formatter {
    /// The longest line that is not broken.
    static let width = 110

    private var out = ""
    private var comments: ArraySlice<Comment>
    private var bytes: [UInt8]
    private var lastKind: String?
    private var lastWasBlock = false
    private var pendingBlank = false
    /// Where a comment behind an item starts; 0 outside blocks.
    private var commentColumn = 0
    private var lineLength = 0
    /// Longer items do not move the others' comments.
    private static let alignedLimit = 60

    private init(comments: [Comment], bytes: [UInt8]) {
        self.comments = comments[...]
        self.bytes = bytes
    }

    /// The text of all files: includes expanded, without comments.
    static func canonicalText(_ statements: [Statement]) -> String {
        var formatter = Formatter(comments: [], bytes: [])
        for statement in statements {
            switch statement.payload {
            case .include, .broken: continue
            case .version where statement.span.file != 0: continue
            default: formatter.write(statement)
            }
        }
        return formatter.out
    }

    /// The text of one file, its comments kept.
    static func text(_ parsed: ParsedFile, _ file: SourceFile) -> String {
        var formatter = Formatter(comments: parsed.comments, bytes: file.bytes)
        for statement in parsed.statements { formatter.write(statement) }
        formatter.writeComments(before: file.bytes.count + 1, indent: "", isFirst: true)
        return formatter.out
    }

    private mutating func write(_ statement: Statement) {
        let isBlock: Bool
        switch statement.layout {
        case .line: isBlock = false
        case .block: isBlock = true
        case .list(let head, let items): isBlock = oneLine(head, items) == nil || hasComment(within: statement.span)
        }
        if lastKind != nil, lastKind != statement.kind || isBlock || lastWasBlock { pendingBlank = true }
        lastKind = statement.kind
        lastWasBlock = isBlock
        writeComments(before: Int(statement.span.start), indent: "", isFirst: true)
        if pendingBlank { blankLine() }
        pendingBlank = false
        switch statement.layout {
        case .line(let parts):
            // A comment within the braces of a clause moves before its rule.
            writeComments(before: Int(statement.span.end), indent: "", isFirst: false)
            writeLine(parts)
            finishLine(end: Int(statement.span.end))
        case .block(let head, let items):
            writeBlock(head, items, statement.span, separator: "")
        case .list(let head, let items):
            if !isBlock, let line = oneLine(head, items) {
                out += line
                finishLine(end: Int(statement.span.end))
            } else {
                writeBlock(head, items, statement.span, separator: "")
            }
        }
    }

    private func oneLine(_ head: String, _ items: [Statement.Item]) -> String? {
        let line = head + " { " + items.map(\.text).joined(separator: ", ") + " }"
        return line.utf8.count <= Self.width ? line : nil
    }

    private mutating func writeLine(_ parts: [String]) {
        let whole = parts.joined(separator: " ")
        guard whole.utf8.count > Self.width, let first = parts.first else {
            out += whole
            return
        }
        var length = first.utf8.count
        out += first
        for part in parts.dropFirst() {
            if length + 1 + part.utf8.count + 2 > Self.width {
                out += " \\\n    " + part
                length = 4 + part.utf8.count
            } else {
                out += " " + part
                length += 1 + part.utf8.count
            }
        }
    }

    private mutating func writeBlock(_ head: String, _ items: [Statement.Item], _ span: Span, separator: String) {
        out += head + " {"
        // A comment behind the brace belongs to the head.
        finishLine(end: nextOffset(items, span))
        commentColumn = column(items, span)
        for item in items {
            writeComments(before: Int(item.span.start), indent: "    ", isFirst: false)
            out += "    " + item.text
            lineLength = 4 + item.text.utf8.count
            finishLine(end: Int(item.span.end))
        }
        commentColumn = 0
        writeComments(before: Int(span.end), indent: "    ", isFirst: false)
        out += "}"
        finishLine(end: Int(span.end))
    }

    /// Where the comments behind a block's items start: behind the longest item that has one, within reason.
    private func column(_ items: [Statement.Item], _ span: Span) -> Int {
        var longest = 0
        var rest = comments.drop { $0.start < Int(span.start) }
        for item in items {
            rest = rest.drop { $0.start < Int(item.span.end) }
            guard let comment = rest.first, !comment.isAlone,
                isBlank(from: Int(item.span.end), to: comment.start), item.text.utf8.count <= Self.alignedLimit
            else { continue }
            longest = max(longest, 4 + item.text.utf8.count)
        }
        return longest + 2
    }

    /// The end of the head's own line, as far as comments go: a comment on it stands before the first item.
    private func nextOffset(_ items: [Statement.Item], _ span: Span) -> Int {
        guard let comment = comments.first, !comment.isAlone,
            comment.start < Int(items.first?.span.start ?? span.end)
        else { return -1 }
        return comment.start
    }

    private func hasComment(within span: Span) -> Bool {
        comments.contains { $0.start > Int(span.start) && $0.start < Int(span.end) }
    }

    private mutating func blankLine() {
        if !out.isEmpty, !out.hasSuffix("\n\n") { out += "\n" }
    }

    /// Ends a line, with the comment that stands behind it in the source.
    private mutating func finishLine(end: Int) {
        if end >= 0, let comment = comments.first, !comment.isAlone, comment.start >= end,
            isBlank(from: end, to: comment.start)
        {
            out += String(repeating: " ", count: max(commentColumn - lineLength, 2)) + text(comment)
            comments = comments.dropFirst()
        }
        lineLength = 0
        out += "\n"
    }

    /// Whether only blanks, commas and closing braces stand between two places of one line.
    private func isBlank(from start: Int, to end: Int) -> Bool {
        guard start <= end, end <= bytes.count else { return false }
        return bytes[start..<end].allSatisfy { " \t,}".utf8.contains($0) }
    }

    /// Writes the comments that stand before a place, each on a line of its own; an empty line after one stays.
    private mutating func writeComments(before offset: Int, indent: String, isFirst: Bool) {
        while let comment = comments.first, comment.start < offset {
            if pendingBlank || (isFirst && startsParagraph(comment)) {
                blankLine()
                pendingBlank = false
            }
            out += indent + text(comment) + "\n"
            comments = comments.dropFirst()
            if isFirst, endsParagraph(comment) { pendingBlank = true }
        }
    }

    /// Whether an empty line stands before a comment in the source.
    private func startsParagraph(_ comment: Comment) -> Bool {
        var newlines = 0
        for byte in bytes[..<comment.start].reversed() {
            guard " \t\r\n".utf8.contains(byte) else { break }
            if byte == UInt8(ascii: "\n") { newlines += 1 }
        }
        return newlines > 1
    }

    /// Whether an empty line follows a comment in the source, and then something more.
    private func endsParagraph(_ comment: Comment) -> Bool {
        var newlines = 0
        var index = comment.end
        while index < bytes.count, " \t\r\n".utf8.contains(bytes[index]) {
            if bytes[index] == UInt8(ascii: "\n") { newlines += 1 }
            index += 1
        }
        return newlines > 1 && index < bytes.count
    }

    private func text(_ comment: Comment) -> String {
        String(decoding: bytes[comment.start..<comment.end], as: UTF8.self)
    }
}
