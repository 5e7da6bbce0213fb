// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// How many requests began in each hour of the week, in local time: what comes when nobody should be at work is seen at once.
struct WeekHours {
    /// Seven days from Monday, twenty-four hours each.
    private(set) var counts = Array(repeating: 0, count: 7 * 24)

    /// Counts requests that began at a local date and time.
    mutating func add(_ time: CivilTime, _ count: Int) {
        let place = Int(time.weekday) * 24 + Int(time.second / 3_600)
        counts[place] = counts[place].addingReportingOverflow(count).partialValue
    }

    /// That of an hour of a day, which is 0 for Monday.
    subscript(day: Int, hour: Int) -> Int { counts[day * 24 + hour] }
}

/// The chart of them, with the same figures as a table.
struct WeekChart {
    let hours: WeekHours

    private static let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    private static let left = 58
    private static let top = 4
    private static let pitch = 36
    private static let row = 22
    /// The steps of lightness.
    private static let steps = 6

    /// Writes the chart and its table.
    func write(to page: inout Markup) {
        let most = hours.counts.max() ?? 0
        page.chart(
            "week", size: (Self.left + 24 * Self.pitch + 8, Self.top + 7 * Self.row + 22),
            title: "Requests by the hour of the week", description: description
        ) { page in
            for (day, name) in Self.days.enumerated() {
                let y = Self.top + day * Self.row
                page.element(
                    "text", ["class": "axis", "x": "\(Self.left - 8)", "y": "\(y + 15)", "text-anchor": "end"],
                    String(name.prefix(3)))
                for hour in 0..<24 { cell(day, hour, y, most, to: &page) }
            }
            for hour in stride(from: 0, through: 21, by: 3) {
                page.element(
                    "text",
                    [
                        "class": "axis", "x": "\(Self.left + hour * Self.pitch)",
                        "y": "\(Self.top + 7 * Self.row + 16)",
                    ],
                    Self.clock(hour))
            }
        }
        table(to: &page)
    }

    private func cell(_ day: Int, _ hour: Int, _ y: Int, _ most: Int, to page: inout Markup) {
        let count = hours[day, hour]
        let place = (
            x: "\(Self.left + hour * Self.pitch)", y: "\(y)", width: "\(Self.pitch - 2)", height: "\(Self.row - 2)"
        )
        page.element("g") { page in
            page.element("title", "\(Self.days[day]), \(Self.clock(hour)): \(Shown.number(count))")
            page.empty(
                "rect",
                ["class": "empty", "x": place.x, "y": place.y, "width": place.width, "height": place.height])
            guard count > 0, most > 0 else { return }
            let step = max(1, Int((Double(count) / Double(most) * Double(Self.steps)).rounded(.up)))
            // Tenths: from 0.25 to 1.
            let opacity = 25 + 75 * (step - 1) / (Self.steps - 1)
            page.empty(
                "rect",
                [
                    "class": "cell", "fill-opacity": opacity == 100 ? "1" : "0.\(opacity)", "x": place.x, "y": place.y,
                    "width": place.width, "height": place.height,
                ])
        }
    }

    private func table(to page: inout Markup) {
        page.element("details") { page in
            page.element("summary", "The chart as a table")
            page.element("div", ["class": "scroll"]) { page in
                page.element("table") { page in
                    page.element("thead") { page in
                        page.element("tr") { page in
                            page.element("th", ["scope": "col"], "Hour")
                            for name in Self.days { page.element("th", ["scope": "col", "class": "number"], name) }
                        }
                    }
                    page.element("tbody") { page in
                        for hour in 0..<24 {
                            page.element("tr") { page in
                                page.element("th", ["scope": "row"], Self.clock(hour))
                                for day in 0..<7 {
                                    page.element("td", ["class": "number"], Shown.number(hours[day, hour]))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private var description: String {
        guard let most = hours.counts.indices.max(by: { hours.counts[$0] < hours.counts[$1] }), hours.counts[most] > 0
        else { return "No requests." }
        return
            "The most, \(Shown.number(hours.counts[most])), on \(Self.days[most / 24])s from \(Self.clock(most % 24)). "
            + "The table after the chart has all figures."
    }

    private static func clock(_ hour: Int) -> String {
        (hour < 10 ? "0" : "") + "\(hour):00"
    }
}
