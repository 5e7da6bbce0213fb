// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// A date and a time of day of the Gregorian calendar, in no zone of its own.
struct CivilTime: Equatable {
    /// Days since 1970-01-01.
    var day: Int64
    /// Seconds since midnight, 0 to 86,399; 60 seconds past a minute are not known here.
    var second: Int64

    /// Seconds a day.
    static let daySeconds: Int64 = 86_400

    /// Seconds since 1970, were the zone UTC.
    var seconds: Int64 { day * Self.daySeconds + second }

    /// - Parameter seconds: since 1970, with the zone's offset added.
    init(seconds: Int64) {
        day = seconds >= 0 ? seconds / Self.daySeconds : (seconds + 1) / Self.daySeconds - 1
        second = seconds - day * Self.daySeconds
    }

    /// A date; nil where there is none such. The years are 1970 to 9999.
    init?(year: Int64, month: Int64, day: Int64, second: Int64 = 0) {
        guard (1970...9_999).contains(year), (1...12).contains(month),
            (1...Self.days(inMonth: month, of: year)).contains(day), (0..<Self.daySeconds).contains(second)
        else { return nil }
        // The year begins in March, so that the leap day is its last.
        let shifted = month > 2 ? month - 3 : month + 9
        let marchYear = month > 2 ? year : year - 1
        let era = marchYear / 400
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * shifted + 2) / 5 + day - 1
        self.day = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        self.second = second
    }

    private static func days(inMonth month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Year, month and day of the month.
    var date: (year: Int64, month: Int64, day: Int64) {
        let days = day + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    /// The day of the week, 0 for Monday to 6 for Sunday.
    var weekday: Int64 { ((day + 3) % 7 + 7) % 7 }
}

/// What is added to UTC to get local time, moment by moment.
struct LocalZone: Sendable {
    /// Seconds to add at a moment, which is in seconds since 1970.
    let offset: @Sendable (Int64) -> Int64

    /// A zone that is always as far from UTC.
    init(fixed seconds: Int64) {
        offset = { _ in seconds }
    }

    /// A zone by its rule.
    init(_ offset: @escaping @Sendable (Int64) -> Int64) {
        self.offset = offset
    }

    /// This process's zone, as TZ or the host has it.
    static var ofThisHost: LocalZone {
        LocalZone { seconds in
            let text = Array(Clock.localText(seconds: seconds, format: "%z").utf8)
            let digits = text.dropFirst().map { Int64($0) - 48 }
            guard text.count == 5, digits.allSatisfy({ (0...9).contains($0) }) else { return 0 }
            let amount = (digits[0] * 10 + digits[1]) * 3_600 + (digits[2] * 10 + digits[3]) * 60
            return text[0] == UInt8(ascii: "-") ? -amount : amount
        }
    }

    /// The local date and time of a moment.
    func civil(_ seconds: Int64) -> CivilTime {
        CivilTime(seconds: seconds + offset(seconds))
    }

    /// The moment of a local date and time, in seconds since 1970. Of one that comes twice as clocks are put back it is one
    /// of the two; one that clocks skip is as far after the gap as it lies in it.
    func seconds(_ civil: CivilTime) -> Int64 {
        let wanted = civil.seconds
        let first = wanted - offset(wanted)
        let second = wanted - offset(first)
        return offset(second) == offset(first) ? second : max(first, second)
    }
}

/// Local time of many moments, most of them near each other.
struct LocalClock {
    /// No zone's offset changes within such a stretch but at its beginning.
    private static let stretch: Int64 = 900

    private let zone: LocalZone
    private var known: (stretch: Int64, offset: Int64)?

    init(_ zone: LocalZone) {
        self.zone = zone
    }

    /// The local date and time of a moment, in milliseconds since 1970.
    mutating func civil(milliseconds: UInt64) -> CivilTime {
        let seconds = Int64(clamping: milliseconds / 1_000)
        let stretch = seconds / Self.stretch
        let offset = known?.stretch == stretch ? known?.offset ?? 0 : zone.offset(seconds)
        known = (stretch, offset)
        return CivilTime(seconds: seconds + offset)
    }
}
