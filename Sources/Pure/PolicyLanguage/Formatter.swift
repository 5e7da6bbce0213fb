// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Writes statements in their one canonical form.
///
/// A statement a line; a line that would be longer than `width` is broken before a clause; blocks have an item a line;
/// an empty line stands between statements of different kinds and around blocks.
struct Formatter {
    /// The longest line that is not broken.
    static let width = 110

    /// What has been written and not yet been given on.
    private var out: [UInt8] = []
    /// Whether something has been given on; it ended in a line that was not empty.
    private var hasGiven = false
    /// Comments that have been read and not yet been written.
    private var comments: ArraySlice<Comment> = []
    private let bytes: [UInt8]
    private var lastKind: Statement.Kind?
    private var lastWasBlock = false
    private var pendingBlank = false
    /// Where a comment behind an item starts; 0 outside blocks.
    private var commentColumn = 0
    private var lineLength = 0
    /// The text of the last rule, of which the room is used again.
    private var ruleLayout = Layout(.line, parts: 8)
    /// Longer items do not move the others' comments.
    private static let alignedLimit = 60

    /// A formatter of the statements of a file; without its bytes none of its comments is kept.
    init(bytes: [UInt8] = []) {
        self.bytes = bytes
    }

    /// The text of one file, its comments kept; as far as the parser finds no error in it.
    static func text(_ parser: inout Parser, _ file: SourceFile) -> String {
        var formatter = Formatter(bytes: file.bytes)
        var rule = RuleSyntax()
        while let statement = parser.nextStatement(&rule) {
            // With the statement its last line has been read, and what stands behind it.
            formatter.comments += parser.takeComments()
            formatter.write(statement, rule)
        }
        formatter.comments += parser.takeComments()
        formatter.writeComments(before: file.bytes.count + 1, indent: 0, isFirst: true)
        return String(decoding: formatter.out, as: UTF8.self)
    }

    /// Gives on what has been written, if it is so many bytes; what is written next is the same as if it had not been.
    mutating func give(to taker: inout some CanonicalTextTaker, atLeast count: Int) {
        guard out.count >= count else { return }
        taker.take(out)
        hasGiven = true
        out.removeAll(keepingCapacity: true)
    }

    /// Writes a statement, and the rule if it is one.
    mutating func write(_ statement: Statement, _ rule: borrowing RuleSyntax) {
        guard case .rule = statement.payload else { return write(statement, statement.layout) }
        ruleLayout.removeAll()
        rule.write(to: &ruleLayout)
        write(statement, ruleLayout)
    }

    private mutating func write(_ statement: Statement, _ layout: Layout) {
        guard !layout.parts.isEmpty else { return }
        let isBlock =
            switch layout.shape {
            case .line: false
            case .block: true
            case .list: !fitsOneLine(layout) || hasComment(within: statement.span)
            }
        if lastKind != nil, lastKind != statement.kind || isBlock || lastWasBlock { pendingBlank = true }
        lastKind = statement.kind
        lastWasBlock = isBlock
        writeComments(before: Int(statement.span.start), indent: 0, isFirst: true)
        if pendingBlank { blankLine() }
        pendingBlank = false
        if isBlock { return writeBlock(layout, statement.span) }
        if layout.shape == .list {
            writeOneLine(layout)
        } else {
            // A comment within the braces of a clause moves before its rule.
            writeComments(before: Int(statement.span.end), indent: 0, isFirst: false)
            writeLine(layout)
        }
        finishLine(end: Int(statement.span.end))
    }

    /// Whether `HEAD { a, b }` is no longer than a line.
    private func fitsOneLine(_ layout: Layout) -> Bool {
        // Around the items " { " and " }", between them ", "; the first part is the head.
        layout.text.count + 5 + 2 * max(layout.parts.count - 2, 0) <= Self.width
    }

    private mutating func writeOneLine(_ layout: Layout) {
        out += layout.text(of: 0)
        var separator = " { "
        for part in layout.parts.indices.dropFirst() {
            out.append(contentsOf: separator.utf8)
            out += layout.text(of: part)
            separator = ", "
        }
        out.append(contentsOf: " }".utf8)
    }

    private mutating func writeLine(_ layout: Layout) {
        guard layout.text.count > Self.width else {
            out += layout.text
            return
        }
        var length = 0
        for part in layout.parts.indices {
            var text = layout.text(of: part)
            if part > 0, length + text.count + 2 > Self.width {
                out.append(contentsOf: " \\\n    ".utf8)
                length = 4
                text = text.dropFirst()
            }
            out += text
            length += text.count
        }
    }

    private mutating func writeBlock(_ layout: Layout, _ span: Span) {
        out += layout.text(of: 0)
        out.append(contentsOf: " {".utf8)
        let items = layout.parts.indices.dropFirst()
        // A comment behind the brace belongs to the head.
        finishLine(end: nextOffset(layout, span))
        commentColumn = column(layout, span)
        for item in items {
            let place = layout.parts[item].span
            let text = layout.text(of: item)
            writeComments(before: Int(place.start), indent: 4, isFirst: false)
            out.append(contentsOf: "    ".utf8)
            out += text
            lineLength = 4 + text.count
            finishLine(end: Int(place.end))
        }
        commentColumn = 0
        writeComments(before: Int(span.end), indent: 4, isFirst: false)
        out.append(UInt8(ascii: "}"))
        finishLine(end: Int(span.end))
    }

    /// Where the comments behind a block's items start: behind the longest item that has one, within reason.
    private func column(_ layout: Layout, _ span: Span) -> Int {
        var longest = 0
        var rest = comments.drop { $0.start < Int(span.start) }
        for item in layout.parts.indices.dropFirst() {
            let end = Int(layout.parts[item].span.end)
            let length = layout.text(of: item).count
            rest = rest.drop { $0.start < end }
            guard let comment = rest.first, !comment.isAlone, isBlank(from: end, to: comment.start),
                length <= Self.alignedLimit
            else { continue }
            longest = max(longest, 4 + length)
        }
        return longest + 2
    }

    /// The end of the head's own line, as far as comments go: a comment on it stands before the first item.
    private func nextOffset(_ layout: Layout, _ span: Span) -> Int {
        guard let comment = comments.first, !comment.isAlone,
            comment.start < Int(layout.parts.dropFirst().first?.span.start ?? span.end)
        else { return -1 }
        return comment.start
    }

    private func hasComment(within span: Span) -> Bool {
        comments.first { $0.start > Int(span.start) }.map { $0.start < Int(span.end) } ?? false
    }

    private mutating func blankLine() {
        guard hasGiven || !out.isEmpty else { return }
        let newline = UInt8(ascii: "\n")
        if !out.suffix(2).elementsEqual([newline, newline]) { out.append(newline) }
    }

    /// Ends a line, with the comment that stands behind it in the source.
    private mutating func finishLine(end: Int) {
        if end >= 0, let comment = comments.first, !comment.isAlone, comment.start >= end,
            isBlank(from: end, to: comment.start)
        {
            out.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(commentColumn - lineLength, 2)))
            out += text(comment)
            comments = comments.dropFirst()
        }
        lineLength = 0
        out.append(UInt8(ascii: "\n"))
    }

    /// Whether only blanks, commas and closing braces stand between two places of one line.
    private func isBlank(from start: Int, to end: Int) -> Bool {
        guard start <= end, end <= bytes.count else { return false }
        return bytes[start..<end].allSatisfy { " \t,}".utf8.contains($0) }
    }

    /// Writes the comments that stand before a place, each on a line of its own; an empty line after one stays.
    private mutating func writeComments(before offset: Int, indent: Int, isFirst: Bool) {
        while let comment = comments.first, comment.start < offset {
            if pendingBlank || (isFirst && startsParagraph(comment)) {
                blankLine()
                pendingBlank = false
            }
            out.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indent))
            out += text(comment)
            out.append(UInt8(ascii: "\n"))
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

    private func text(_ comment: Comment) -> ArraySlice<UInt8> {
        bytes[comment.start..<comment.end]
    }
}
