// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// `during`: when a command may start, in the gateway's local time.
public struct Hours: Sendable, Hashable {
    /// The ranges that are written in the rule itself.
    public var literal: [WeeklyRange]
    /// The sets that it names.
    public var sets: [NamedSet<[WeeklyRange]>]

    /// A clause.
    public init(_ literal: [WeeklyRange], sets: [NamedSet<[WeeklyRange]>] = []) {
        self.literal = literal
        self.sets = sets
    }

    /// Whether a moment is in any of them.
    public func contains(_ time: LocalTime) -> Bool {
        literal.contains { $0.contains(time) } || sets.contains { $0.items.contains { $0.contains(time) } }
    }

    /// Every range, of the rule and of its sets.
    public var ranges: [WeeklyRange] { literal + sets.flatMap(\.items) }
}

/// A range of hours on certain days of the week, such as `mon-fri 22:00-04:00`.
public struct WeeklyRange: Sendable, Hashable, CustomStringConvertible {
    /// The days' words, from Sunday on, as tm_wday counts.
    public static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// The minutes of a day.
    public static let minutesOfDay = 1_440

    /// The first day, 0 for Sunday to 6.
    public let firstDay: Int
    /// The last day, 0 to 6; before the first where the range goes over the week's end.
    public let lastDay: Int
    /// The first minute, 0 to 1439.
    public let start: Int
    /// The minute after the last, 1 to 1440; at or before the first where the range goes past midnight.
    public let end: Int

    /// A range; nil outside these bounds, or where it would be empty.
    public init?(firstDay: Int, lastDay: Int, start: Int, end: Int) {
        guard (0...6).contains(firstDay), (0...6).contains(lastDay) else { return nil }
        guard (0..<Self.minutesOfDay).contains(start), (0...Self.minutesOfDay).contains(end), start != end else {
            return nil
        }
        self.firstDay = firstDay
        self.lastDay = lastDay
        self.start = start
        self.end = end
    }

    /// Whether a moment is in it; a range past midnight belongs to the day it starts on.
    public func contains(_ time: LocalTime) -> Bool {
        if start < end { return includes(day: time.weekday) && (start..<end).contains(time.minute) }
        if time.minute >= start { return includes(day: time.weekday) }
        return time.minute < end && includes(day: (time.weekday + 6) % 7)
    }

    /// Whether a range that starts on a day is meant.
    public func includes(day: Int) -> Bool {
        firstDay <= lastDay ? (firstDay...lastDay).contains(day) : day >= firstDay || day <= lastDay
    }

    /// The moments that it holds, as minutes of a week that starts on Sunday: at most eight ranges, none empty.
    public var minutesOfWeek: [Range<Int>] {
        let week = 7 * Self.minutesOfDay
        var out: [Range<Int>] = []
        for day in 0...6 where includes(day: day) {
            let from = day * Self.minutesOfDay + start
            let length = start < end ? end - start : end + Self.minutesOfDay - start
            if from + length <= week {
                out.append(from..<(from + length))
            } else {
                out.append(from..<week)
                out.append(0..<(from + length - week))
            }
        }
        return out
    }

    /// `mon-fri 22:00-04:00`.
    public var description: String {
        let days =
            firstDay == lastDay
            ? Self.dayNames[firstDay] : "\(Self.dayNames[firstDay])-\(Self.dayNames[lastDay])"
        return "\(days) \(Self.clock(start))-\(Self.clock(end))"
    }

    /// A minute of the day as `22:00`.
    static func clock(_ minute: Int) -> String {
        let hours = String(minute / 60)
        let minutes = String(minute % 60)
        return (hours.utf8.count < 2 ? "0" : "") + hours + ":" + (minutes.utf8.count < 2 ? "0" : "") + minutes
    }
}
