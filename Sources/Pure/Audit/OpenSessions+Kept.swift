// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A place in a trail's files: behind a whole line.
public struct TrailPlace: Sendable, Hashable {
    /// The number of the first record of the segment in which the line is.
    public var segment: UInt64
    /// The bytes of that segment up to and with the line's newline.
    public var offset: Int64
    /// The line.
    public var position: ChainPosition

    /// A place.
    public init(segment: UInt64, offset: Int64, position: ChainPosition) {
        self.segment = segment
        self.offset = offset
        self.position = position
    }
}

/// The sessions that stood open at a place of the trail, as they lie beside it: who starts on the trail goes on from there,
/// and need not read it from its beginning.
///
/// It is text: a line that says what it is, the place, the sessions that ended last, the lines of those that stand open as they
/// are in the trail, and a digest over all before it. It says nothing that the trail does not say; where it does not fit the
/// trail, it is as if it were not there.
extension OpenSessions {
    private static let title = "portcullis-sessions 1"
    /// How many of those that ended last are told besides: what another process still has to say of them may come late.
    private static let lastEnded = 1_024

    /// The text for a place up to which this has taken every line.
    ///
    /// - Parameters:
    ///   - ended: sessions that have ended and can still be spoken of, however long ago that was.
    ///   - digest: SHA-256.
    public func kept(at place: TrailPlace, ended: [SessionID], digest: Digest) -> [UInt8] {
        var text = Array("\(Self.title)\nat \(place.segment) \(place.offset) ".utf8)
        text += Array("\(place.position.sequence) \(place.position.head)\n".utf8)
        for id in ended.map(Self.key) + complete.last(Self.lastEnded) {
            text += "ended ".utf8
            text += id
            text.append(UInt8(ascii: "\n"))
        }
        // A session's lines stand together, and sessions in the order of their starts.
        for found in open.values.sorted(by: { $0.started ?? .max < $1.started ?? .max }) {
            for line in found.lines {
                text += line
                text.append(UInt8(ascii: "\n"))
            }
        }
        return text + Array("sum \(Hexadecimal.lower(digest(text)))\n".utf8)
    }

    /// Reads such a text; nil where it is none, or not whole.
    public init?(kept text: [UInt8], place: inout TrailPlace?, digest: Digest) {
        let newline = UInt8(ascii: "\n")
        // The sum before anything else of it is looked at; and one line at a time, since there can be as many as bytes.
        guard text.last == newline, text.starts(with: "\(Self.title)\n".utf8),
            let end = text.dropLast().lastIndex(of: newline),
            text[end...].dropFirst().dropLast()
                .elementsEqual("sum \(Hexadecimal.lower(digest(Array(text[...end]))))".utf8)
        else { return nil }
        var rest = text[...end].dropFirst(Self.title.utf8.count + 1)
        guard let first = rest.firstIndex(of: newline), let at = TrailPlace(kept: rest[..<first]) else { return nil }
        rest = rest[first...].dropFirst()
        self.init()
        let ended = "ended ".utf8
        while let next = rest.firstIndex(of: newline) {
            let line = rest[..<next]
            if line.starts(with: ended) { complete.insert(Array(line.dropFirst(ended.count))) } else { take(line) }
            rest = rest[next...].dropFirst()
        }
        place = at
    }
}

extension TrailPlace {
    fileprivate init?(kept line: ArraySlice<UInt8>) {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 5, words[0].elementsEqual("at".utf8),
            let segment: UInt64 = FieldText.number(Array(words[1])),
            let offset: Int64 = FieldText.number(Array(words[2])), offset > 0,
            let sequence: UInt64 = FieldText.number(Array(words[3])), let head = ChainHead(digits: words[4])
        else { return nil }
        self.init(segment: segment, offset: offset, position: ChainPosition(sequence: sequence, head: head))
    }
}
