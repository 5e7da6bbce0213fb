// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A moment as people say it: by a date, a time of day, a word, or how long ago it was.
///
/// The forms are those of `last --since` and `ausearch -ts` that mean the same in every locale, and RFC 3339's, in which
/// `--json` prints times.
struct Moment: Equatable {
    /// Milliseconds since 1970.
    var milliseconds: UInt64

    /// The most characters that are looked at.
    private static let limit = 40

    /// Understands the words; nil for anything else.
    ///
    /// - Parameter now: milliseconds since 1970.
    init?(_ words: String, now: UInt64, _ zone: LocalZone) {
        guard words.utf8.count <= Self.limit else { return nil }
        let text = words.lowercased()
        if let age = Self.age(text) {
            milliseconds = now > age ? now - age : 0
            return
        }
        let today = zone.civil(Int64(clamping: now / 1_000))
        let found: Int64?
        switch text {
        case "now":
            milliseconds = now
            return
        case "today": found = Self.midnight(today.day, zone)
        case "yesterday": found = Self.midnight(today.day - 1, zone)
        case "this-week": found = Self.midnight(today.day - today.weekday, zone)
        case "week-ago": found = Self.midnight(today.day - 7, zone)
        case "this-month": found = Self.midnight(today.day - today.date.day + 1, zone)
        case "this-year":
            found = CivilTime(year: today.date.year, month: 1, day: 1).map { zone.seconds($0) }
        default:
            guard let moment = Self.moment(text, today: today, zone) else { return nil }
            milliseconds = moment
            return
        }
        guard let found, found >= 0 else { return nil }
        milliseconds = UInt64(found) * 1_000
    }

    private static func midnight(_ day: Int64, _ zone: LocalZone) -> Int64 {
        zone.seconds(CivilTime(seconds: day * CivilTime.daySeconds))
    }

    // MARK: How long ago

    private static let units: [(names: [String], milliseconds: UInt64)] = [
        (["s", "sec", "secs", "second", "seconds"], 1_000),
        (["m", "min", "mins", "minute", "minutes"], 60_000),
        (["h", "hour", "hours"], 3_600_000),
        (["d", "day", "days"], 86_400_000),
        (["w", "week", "weeks"], 604_800_000),
    ]

    /// Milliseconds of `90m`, `-5days`, `1 hour ago` and `recent`, which is ausearch's ten minutes.
    private static func age(_ text: String) -> UInt64? {
        if text == "recent" { return 600_000 }
        var rest = text[...]
        if rest.hasSuffix(" ago") { rest = rest.dropLast(4) } else if rest.hasPrefix("-") { rest = rest.dropFirst() }
        let digits = rest.prefix { $0.isASCII && $0.isNumber }
        let word = rest.dropFirst(digits.count).drop { $0 == " " }
        guard let count = UInt64(digits), count <= 1_000_000_000,
            let unit = units.first(where: { $0.names.contains(String(word)) })
        else { return nil }
        // INVARIANT: less than 10^18.
        return count * unit.milliseconds
    }

    // MARK: A date or a time

    /// `2026-11-20`, with `T22:00`, `:30` and `.5` and a zone; `22:00`; `20261120220000`; `@1795212781`.
    private static func moment(_ text: String, today: CivilTime, _ zone: LocalZone) -> UInt64? {
        if text.hasPrefix("@") {
            guard let seconds = number(text.dropFirst(), 1...12) else { return nil }
            return UInt64(seconds) * 1_000
        }
        if text.utf8.count == 14, number(text, 14...14) != nil {
            let digits = Array(text)
            let date = String(digits[0..<4]) + "-" + String(digits[4..<6]) + "-" + String(digits[6..<8])
            let time = String(digits[8..<10]) + ":" + String(digits[10..<12]) + ":" + String(digits[12..<14])
            return moment("\(date)t\(time)", today: today, zone)
        }
        var scanner = text[...]
        var civil = CivilTime(seconds: today.day * CivilTime.daySeconds)
        if text.dropFirst(4).first == "-" {
            guard let date = date(text.prefix(10)) else { return nil }
            civil = date
            scanner = scanner.dropFirst(10)
            if scanner.isEmpty { return milliseconds(zone.seconds(civil), 0) }
            guard scanner.first == "t" || scanner.first == " " else { return nil }
            scanner = scanner.dropFirst()
        }
        return time(scanner, of: civil, zone)
    }

    private static func date(_ text: Substring) -> CivilTime? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, let year = number(parts[0], 4...4), let month = number(parts[1], 2...2),
            let day = number(parts[2], 2...2)
        else { return nil }
        return CivilTime(year: year, month: month, day: day)
    }

    /// `22:00`, `22:00:30`, `22:00:30.25`, each with `Z`, `+01:00` or `+0100` or in local time.
    private static func time(_ text: Substring, of day: CivilTime, _ zone: LocalZone) -> UInt64? {
        let clock = text.prefix { !"z+-".contains($0) }
        let zoneText = text.dropFirst(clock.count)
        let halves = clock.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let parts = halves[0].split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let hour = number(parts[0], 2...2), hour < 24,
            let minute = number(parts[1], 2...2), minute < 60,
            let second = parts.count == 3 ? number(parts[2], 2...2) : 0, second < 60
        else { return nil }
        var thousandths: Int64 = 0
        if halves.count == 2 {
            guard parts.count == 3, let fraction = number((halves[1] + "00").prefix(3), 3...3),
                number(halves[1], 1...9) != nil
            else { return nil }
            thousandths = fraction
        }
        var civil = day
        civil.second = hour * 3_600 + minute * 60 + second
        guard !zoneText.isEmpty else { return milliseconds(zone.seconds(civil), thousandths) }
        guard let offset = offset(zoneText) else { return nil }
        return milliseconds(civil.seconds - offset, thousandths)
    }

    private static func offset(_ text: Substring) -> Int64? {
        if text == "z" { return 0 }
        let digits = text.dropFirst().filter { $0 != ":" }
        guard [5, 6].contains(text.utf8.count), let value = number(digits[...], 4...4), value % 100 < 60,
            text.utf8.count == 5 || text.dropFirst(3).first == ":"
        else { return nil }
        let seconds = value / 100 * 3_600 + value % 100 * 60
        return text.first == "-" ? -seconds : seconds
    }

    private static func milliseconds(_ seconds: Int64, _ thousandths: Int64) -> UInt64? {
        seconds >= 0 ? UInt64(seconds) * 1_000 + UInt64(thousandths) : nil
    }

    /// A number of that many decimal digits and nothing else.
    private static func number(_ text: some StringProtocol, _ digits: ClosedRange<Int>) -> Int64? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(text)
    }
}
