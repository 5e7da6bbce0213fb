// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// A moment in the gateway's local time, as far as a rule's hours look at it.
public struct LocalTime: Sendable, Hashable {
    /// The day of the week, 0 for Sunday to 6 for Saturday (as tm_wday has it).
    public let weekday: Int

    /// Minutes since local midnight, 0 to 1439.
    public let minute: Int

    /// A moment; nil outside the ranges.
    public init?(weekday: Int, minute: Int) {
        guard (0...6).contains(weekday), (0...1439).contains(minute) else { return nil }
        self.weekday = weekday
        self.minute = minute
    }

    /// The first moment of a week: midnight before Sunday.
    public static let weekStart = LocalTime()

    private init() {
        weekday = 0
        minute = 0
    }
}
