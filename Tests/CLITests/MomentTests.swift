// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux
import TestSupport
import Testing

@testable import CLI

/// Moments as people say them, and the calendar below them.
@Suite struct MomentTests {
    /// 2026-11-22 02:30:15.500 UTC, a Sunday.
    private static let now: UInt64 = 1_795_314_615_500
    private static let utc = LocalZone(fixed: 0)
    /// Two hours before UTC's midnight is the day before there.
    private static let west = LocalZone(fixed: -5 * 3_600)

    @Test(
        arguments: [
            ("now", "2026-11-22T02:30:15.500Z"), ("today", "2026-11-22T00:00:00.000Z"),
            ("yesterday", "2026-11-21T00:00:00.000Z"), ("this-week", "2026-11-16T00:00:00.000Z"),
            ("week-ago", "2026-11-15T00:00:00.000Z"), ("this-month", "2026-11-01T00:00:00.000Z"),
            ("this-year", "2026-01-01T00:00:00.000Z"), ("recent", "2026-11-22T02:20:15.500Z"),
            ("90m", "2026-11-22T01:00:15.500Z"), ("2d", "2026-11-20T02:30:15.500Z"),
            ("1 hour ago", "2026-11-22T01:30:15.500Z"), ("3 weeks ago", "2026-11-01T02:30:15.500Z"),
            ("5min ago", "2026-11-22T02:25:15.500Z"), ("-5days", "2026-11-17T02:30:15.500Z"),
            ("2 Days Ago", "2026-11-20T02:30:15.500Z"), ("30s", "2026-11-22T02:29:45.500Z"),
            ("01:15", "2026-11-22T01:15:00.000Z"), ("23:59:58", "2026-11-22T23:59:58.000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000Z"), ("2026-11-20 22:00", "2026-11-20T22:00:00.000Z"),
            ("2026-11-20T22:00:30", "2026-11-20T22:00:30.000Z"), ("20261120220030", "2026-11-20T22:00:30.000Z"),
            ("2026-11-20T22:00:30.25Z", "2026-11-20T22:00:30.250Z"), ("2026-11-20t22:00z", "2026-11-20T22:00:00.000Z"),
            ("2026-11-20T22:00+05:30", "2026-11-20T16:30:00.000Z"),
            ("2026-11-20T22:00-0100", "2026-11-20T23:00:00.000Z"),
            ("@1795212781", "2026-11-20T22:13:01.000Z"), ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("500000000d", "1970-01-01T00:00:00.000Z"),
        ])
    func momentsAreUnderstood(_ words: String, _ wanted: String) {
        let moment = Moment(words, now: Self.now, Self.utc)
        #expect(moment.map { Shown.universalTime(milliseconds: $0.milliseconds) } == wanted, "\(words)")
    }

    @Test(
        arguments: [
            "", "yester", "tomorrow-ish", "12", "1 fortnight ago", "ago", "2026-11", "2026-11-31", "2026-13-01",
            "2026-02-29",
            "1969-12-31", "25:00", "12:60", "12:00:60", "12", "2026-11-20T", "2026-11-20X10:00", "2026-11-20T22:00:30.",
            "@",
            "@x", "2026-11-20T22:00+5", "2026-11-20T22:00+05:3", "20261320220000", "9999999999999999d", "１２:００", "90",
            String(repeating: "9", count: 100), "2026-11-20T22:00+0575", "-", "- 5d ago x",
        ])
    func whatIsNoMomentIsNone(_ words: String) {
        #expect(Moment(words, now: Self.now, Self.utc) == nil, "\(words)")
    }

    @Test(
        arguments: [
            ("today", "2026-11-21T05:00:00.000Z"), ("22:00", "2026-11-22T03:00:00.000Z"),
            ("2026-11-20T22:00", "2026-11-21T03:00:00.000Z"), ("2026-11-20T22:00Z", "2026-11-20T22:00:00.000Z"),
        ])
    func withoutAZoneItIsLocalTime(_ words: String, _ wanted: String) {
        let moment = Moment(words, now: Self.now, Self.west)
        #expect(moment.map { Shown.universalTime(milliseconds: $0.milliseconds) } == wanted)
    }

    /// Berlin's clocks: forward at 2026-03-29 01:00 UTC, back at 2026-10-25 01:00 UTC.
    @Test func clocksThatArePutForwardAndBackSkipAndRepeatNoMoment() throws {
        let berlin = LocalZone { seconds in (1_774_746_000..<1_792_890_000).contains(seconds) ? 7_200 : 3_600 }
        func moment(_ words: String) throws -> String {
            let found = try #require(Moment(words, now: Self.now, berlin))
            return Shown.universalTime(milliseconds: found.milliseconds)
        }
        #expect(try moment("2026-03-29T01:59") == "2026-03-29T00:59:00.000Z")
        #expect(try moment("2026-03-29T03:00") == "2026-03-29T01:00:00.000Z")
        // There was no 02:30.
        #expect(try ["2026-03-29T01:30:00.000Z", "2026-03-29T00:30:00.000Z"].contains(moment("2026-03-29T02:30")))
        // 02:30 came twice.
        #expect(try ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"].contains(moment("2026-10-25T02:30")))
        #expect(try moment("2026-10-25T04:00") == "2026-10-25T03:00:00.000Z")
    }

    /// Every day of four centuries goes to a number and back, one after the other.
    @Test func theCalendarHasEveryDayOnce() throws {
        var expected = try #require(CivilTime(year: 1970, month: 1, day: 1))
        #expect(expected.day == 0 && expected.weekday == 3)
        for year in Int64(1970)...2_370 {
            for month in Int64(1)...12 {
                for day in Int64(1)...31 {
                    guard let found = CivilTime(year: year, month: month, day: day) else { continue }
                    #expect(found == expected)
                    #expect(found.date == (year, month, day))
                    expected.day += 1
                }
            }
        }
        #expect(expected.day == 146_462)
        #expect(CivilTime(seconds: -1) == CivilTime(seconds: -1))
        #expect(CivilTime(seconds: -1).second == 86_399)
    }

    /// The C library's own calendar says the same of this host's zone.
    @Test func localTimeIsTheCLibrarys() {
        var clock = LocalClock(.ofThisHost)
        var random = SeededGenerator(seed: 7)
        for _ in 0..<500 {
            let seconds = UInt64.random(in: 0..<4_000_000_000, using: &random)
            let civil = clock.civil(milliseconds: seconds * 1_000)
            let (hour, minute) = (civil.second / 3_600, civil.second / 60 % 60)
            let text = Clock.localText(seconds: Int64(seconds), format: "%-Y %-m %-d %-H %-M")
            #expect(text == "\(civil.date.year) \(civil.date.month) \(civil.date.day) \(hour) \(minute)")
        }
    }
}
