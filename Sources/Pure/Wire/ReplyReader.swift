// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// The client's reading of the answer: `\0` and then stdout, or `\1`, a line of text, and the end.
///
/// It consumes one byte of an accepted request's answer, so that not one byte of stdout is taken, and a bounded text
/// of a refusal: a hostile server can send a line without end.
public struct ReplyReader: Sendable {
    /// Where the answer stands.
    public enum State: Sendable, Hashable {
        /// Nothing came yet.
        case awaitingStatus
        /// A refusal's text is under way.
        case readingText
        /// Accepted: what follows is the command's output.
        case accepted
        /// Refused, with the text without its newline, at most `textLimit` bytes; a stranger's bytes.
        case refused(ByteText)
        /// The first byte is neither `\0` nor `\1`.
        case unexpectedStatus(UInt8)
        /// The server closed the connection without an answer, which must not look like success.
        case closed
    }

    /// The most bytes of a refusal's text that are kept (pdsh takes lines of up to 1,000 bytes for granted).
    public static let textLimit = 1_024

    /// Where it stands.
    public private(set) var state = State.awaitingStatus

    private var text: [UInt8] = []

    /// Nothing was read.
    public init() {}

    /// Whether there is nothing more to read for it.
    public var isDone: Bool {
        switch state {
        case .awaitingStatus, .readingText: false
        case .accepted, .refused, .unexpectedStatus, .closed: true
        }
    }

    /// Consumes bytes of the answer and says how many; none once it is done.
    public mutating func consume(_ bytes: Span<UInt8>) -> Int {
        var taken = 0
        while taken < bytes.count, !isDone {
            take(bytes[taken])
            taken += 1
        }
        return taken
    }

    /// The server closed its side.
    public mutating func end() {
        switch state {
        case .awaitingStatus: state = .closed
        case .readingText: state = .refused(ByteText(text))
        case .accepted, .refused, .unexpectedStatus, .closed: break
        }
    }

    private mutating func take(_ byte: UInt8) {
        switch (state, byte) {
        case (.awaitingStatus, 0):
            state = .accepted
        case (.awaitingStatus, 1):
            state = .readingText
        case (.awaitingStatus, _):
            state = .unexpectedStatus(byte)
        case (.readingText, UInt8(ascii: "\n")):
            state = .refused(ByteText(text))
        default:
            text.append(byte)
            if text.count >= Self.textLimit { state = .refused(ByteText(text)) }
        }
    }
}
