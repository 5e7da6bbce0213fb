// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// How many sessions began when, by how they came out, in local time.
///
/// It is kept by the hour, and by longer stretches where there are too many hours, so that it is never large.
struct LoginHistogram {
    /// What a column of the chart is divided into.
    enum Series: Int, CaseIterable {
        case succeeded
        case open
        case failed
        case refused

        /// The words of the legend.
        var name: String {
            switch self {
            case .succeeded: "ran, exit 0"
            case .open: "running, or no end known"
            case .failed: "ran, ended otherwise"
            case .refused: "refused"
            }
        }

        /// That of an outcome.
        init(_ outcome: TrailStatistics.Outcome) {
            switch outcome {
            case .succeeded: self = .succeeded
            case .running, .endless: self = .open
            case .failed, .signalled, .limited, .lost: self = .failed
            case .refused: self = .refused
            }
        }
    }

    /// The stretch of a column.
    enum Unit: Int, CaseIterable {
        case hour
        case day
        case week
        case month
        case year

        /// The word for it.
        var name: String {
            switch self {
            case .hour: "hour"
            case .day: "day"
            case .week: "week"
            case .month: "month"
            case .year: "year"
            }
        }

        /// The number of the stretch that a stretch of a shorter unit, or this one, lies in; hours, days and weeks count
        /// from 1970, months and years are the calendar's.
        func number(ofHour hour: Int64) -> Int64 {
            let day = hour >= 0 ? hour / 24 : (hour + 1) / 24 - 1
            switch self {
            case .hour: return hour
            case .day: return day
            // Weeks begin on Mondays; 1970-01-01 was a Thursday.
            case .week: return day + 3 >= 0 ? (day + 3) / 7 : (day + 4) / 7 - 1
            case .month:
                let date = CivilTime(seconds: day * CivilTime.daySeconds).date
                return date.year * 12 + date.month - 1
            case .year: return CivilTime(seconds: day * CivilTime.daySeconds).date.year
            }
        }

        /// The next longer unit that is kept; of weeks nobody can tell the month.
        fileprivate var keptNext: Unit? {
            switch self {
            case .hour: .day
            case .day, .week: .month
            case .month: .year
            case .year: nil
            }
        }

        /// The first hour of a stretch, counted from 1970.
        func firstHour(of number: Int64) -> Int64 {
            switch self {
            case .hour: return number
            case .day: return number * 24
            case .week: return (number * 7 - 3) * 24
            case .month:
                return (CivilTime(year: number / 12, month: number % 12 + 1, day: 1)?.day ?? 0) * 24
            case .year: return (CivilTime(year: number, month: 1, day: 1)?.day ?? 0) * 24
            }
        }
    }

    /// A column.
    struct Column: Equatable {
        /// The first hour, counted from 1970 in local time.
        var hour: Int64
        /// How many of each series.
        var counts: [Int]

        /// All of them.
        var total: Int { counts.reduce(0) { $0.addingReportingOverflow($1).partialValue } }
    }

    /// The most stretches that are kept apart.
    static let limit = 20_000

    private var unit = Unit.hour
    private var columns: [Int64: [Int]] = [:]

    /// Counts requests that began at a local date and time.
    mutating func add(_ time: CivilTime, _ series: Series, _ count: Int) {
        let hour = time.day * 24 + time.second / 3_600
        add(unit.number(ofHour: hour), series, count)
        while columns.count > Self.limit, let next = unit.keptNext { coarsen(to: next) }
    }

    private mutating func add(_ number: Int64, _ series: Series, _ count: Int) {
        var counts = columns[number] ?? Array(repeating: 0, count: Series.allCases.count)
        counts[series.rawValue] = counts[series.rawValue].addingReportingOverflow(count).partialValue
        columns[number] = counts
    }

    private mutating func coarsen(to next: Unit) {
        let before = columns
        let finer = unit
        columns = [:]
        unit = next
        for (number, counts) in before {
            let target = next.number(ofHour: finer.firstHour(of: number))
            for series in Series.allCases { add(target, series, counts[series.rawValue]) }
        }
    }

    /// The columns of a chart without gaps, by the shortest unit of which there are not too many.
    func chart(columns limit: Int) -> (unit: Unit, columns: [Column]) {
        for unit in Unit.allCases where unit.rawValue >= self.unit.rawValue {
            var histogram = self
            if unit != self.unit { histogram.coarsen(to: unit) }
            guard let first = histogram.columns.keys.min(), let last = histogram.columns.keys.max() else { break }
            // INVARIANT: years and hours since 1970 are far from the ends of their range.
            if last - first < Int64(limit) {
                let none = Array(repeating: 0, count: Series.allCases.count)
                let found = (first...last).map { number in
                    Column(hour: unit.firstHour(of: number), counts: histogram.columns[number] ?? none)
                }
                return (unit, found)
            }
            guard unit == .year else { continue }
            // Centuries: some clock was wrong. The last years that have any.
            let years = histogram.columns.sorted { $0.key < $1.key }.suffix(limit)
            return (.year, years.map { Column(hour: Unit.year.firstHour(of: $0.key), counts: $0.value) })
        }
        return (.hour, [])
    }
}
