// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import TestSupport
import Testing

/// The names of a trail's files.
@Suite struct SegmentTests {
    @Test(
        arguments: [
            ("trail.log", nil), ("trail.log.000000000001", 1), ("trail.log.000000164904", 164_904),
            ("trail.log.999999999999", 999_999_999_999), ("trail.log.1000000000000", 1_000_000_000_000),
            ("trail.log.18446744073709551615", .max),
        ] as [(String, UInt64?)])
    func eachSegmentHasOneName(_ name: String, _ first: UInt64?) throws {
        let segment = try #require(TrailSegment(name: Array(name.utf8)))
        #expect(segment.first == first)
        #expect(segment.name == name)
        #expect(first.map { TrailSegment(closedFrom: $0) } ?? .live == segment)
    }

    @Test(
        arguments: [
            "", "trail", "trail.lo", "trail.logs", "trail.log.", "trail.log.1", "trail.log.00000000001",
            "trail.log.000000000000", "trail.log.0000000000001", "trail.log.00000000000x", "trail.log.-00000000001",
            "trail.log.18446744073709551616", "trail.log.torn-1795212781", "trail.log.broken-1795212781",
            "trail.log.next", "atrail.log", "checkpoints",
        ])
    func whatHasAnotherNameIsNoSegment(_ name: String) {
        #expect(TrailSegment(name: Array(name.utf8)) == nil)
    }

    @Test func segmentsAreListedInTheirOrder() {
        let names: [ByteText] = [
            "trail.log", "trail.log.1000000000000", "trail.log.000000000900", "checkpoints", "trail.log.torn-1",
            "trail.log.000000000001", "lock",
        ]
        let firsts: [UInt64?] = [1, 900, 1_000_000_000_000, nil]
        for seed in UInt64(1)...20 {
            var random = SeededGenerator(seed: seed)
            #expect(TrailSegment.segments(among: names.shuffled(using: &random)).map(\.first) == firsts)
        }
    }
}
