// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Bytes taken eight at a time, the first as the lowest: names, words and paths are mostly of two such steps.
extension Span<UInt8> {
    /// The eight bytes from a place on.
    @inline(__always)
    func eight(at place: Int) -> UInt64 {
        // One check for all of them, after which the compiler makes one load of it.
        let bytes = extracting(place..<(place + 8))
        let low =
            UInt64(bytes[0]) | UInt64(bytes[1]) << 8 | UInt64(bytes[2]) << 16 | UInt64(bytes[3]) << 24
        let high =
            UInt64(bytes[4]) | UInt64(bytes[5]) << 8 | UInt64(bytes[6]) << 16 | UInt64(bytes[7]) << 24
        return low | high << 32
    }

    /// The four bytes from a place on.
    @inline(__always)
    func four(at place: Int) -> UInt64 {
        let bytes = extracting(place..<(place + 4))
        return UInt64(bytes[0]) | UInt64(bytes[1]) << 8 | UInt64(bytes[2]) << 16 | UInt64(bytes[3]) << 24
    }

    /// The bytes from a place on, which are fewer than eight; zeros above them.
    @inline(__always)
    func rest(from place: Int) -> UInt64 {
        let left = count - place
        // What lies before the place is shifted out; nothing is left of a shift by all bits.
        if count >= 8 { return eight(at: count - 8) >> UInt64(64 - left * 8) }
        if left >= 4 { return four(at: place) | four(at: count - 4) << UInt64(left * 8 - 32) }
        var word: UInt64 = 0
        for index in 0..<left { word |= UInt64(self[place + index]) << UInt64(index * 8) }
        return word
    }

    /// Whether both are the same bytes.
    @inline(__always)
    func isSame(_ other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        var place = 0
        while place + 8 <= count {
            guard eight(at: place) == other.eight(at: place) else { return false }
            place += 8
        }
        return rest(from: place) == other.rest(from: place)
    }
}
