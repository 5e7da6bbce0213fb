// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// The chart of logins over time, as SVG in a page, with the same figures as a table.
struct LoginChart {
    let unit: LoginHistogram.Unit
    let columns: [LoginHistogram.Column]

    private static let width = 940.0
    private static let height = 270.0
    private static let left = 58.0
    private static let right = 8.0
    private static let top = 10.0
    private static let bottom = 40.0
    /// The order in which they stand on each other, from the bottom.
    private static let order: [LoginHistogram.Series] = [.succeeded, .open, .failed, .refused]
    private static let labelCount = 9

    /// Writes the chart, its legend and its table.
    func write(to page: inout Markup) {
        let top = Self.scale(columns.map(\.total).max() ?? 0)
        let plotWidth = Self.width - Self.left - Self.right
        let plotHeight = Self.height - Self.top - Self.bottom
        page.chart(
            "time", size: (Int(Self.width), Int(Self.height)),
            title: "Requests a \(unit.name), by how they came out", description: description
        ) { page in
            Self.pattern(to: &page)
            for tick in stride(from: 0, through: top.limit, by: top.step) {
                let y = Self.top + plotHeight * (1 - Double(tick) / Double(top.limit))
                page.empty(
                    "line",
                    [
                        "class": tick == 0 ? "base" : "grid", "x1": Self.text(Self.left), "y1": Self.text(y),
                        "x2": Self.text(Self.width - Self.right), "y2": Self.text(y),
                    ])
                page.element(
                    "text",
                    [
                        "class": "axis", "x": Self.text(Self.left - 8), "y": Self.text(y + 4),
                        "text-anchor": "end",
                    ],
                    Shown.number(tick))
            }
            let pitch = plotWidth / Double(max(1, columns.count))
            let barWidth = min(56, max(1, pitch > 4 ? pitch * 0.78 : pitch))
            for (index, column) in columns.enumerated() where column.total > 0 {
                let x = Self.left + pitch * (Double(index) + 0.5) - barWidth / 2
                page.element("g") { page in
                    page.element("title", "\(label(column, full: true)): \(Self.words(column))")
                    var base = Self.top + plotHeight
                    for series in Self.order where column.counts[series.rawValue] > 0 {
                        let amount = Double(column.counts[series.rawValue]) / Double(top.limit) * plotHeight
                        // What occurred is seen, however seldom.
                        let height = max(amount, 1.2)
                        base -= height
                        Self.rectangle(series, x, base, barWidth, height, to: &page)
                    }
                }
            }
            let every = max(1, (columns.count + Self.labelCount - 1) / Self.labelCount)
            for (index, column) in columns.enumerated() where index % every == 0 {
                let x = Self.left + pitch * (Double(index) + 0.5)
                page.element(
                    "text",
                    [
                        "class": "axis", "x": Self.text(x), "y": Self.text(Self.height - Self.bottom + 18),
                        "text-anchor": "middle",
                    ],
                    label(column, full: false))
                if unit == .hour,
                    index == 0 || CivilTime(seconds: column.hour * 3_600).second / 3_600 < Int64(every)
                {
                    page.element(
                        "text",
                        [
                            "class": "axis", "x": Self.text(x), "y": Self.text(Self.height - Self.bottom + 33),
                            "text-anchor": "middle",
                        ],
                        Self.date(column.hour))
                }
            }
        }
        Self.legend(to: &page)
        table(to: &page)
    }

    /// The hatching of what was refused.
    static func pattern(to page: inout Markup) {
        page.element("defs") { page in
            page.element(
                "pattern",
                [
                    "id": "hatch", "width": "5", "height": "5", "patternUnits": "userSpaceOnUse",
                    "patternTransform": "rotate(45)",
                ]
            ) { page in
                page.empty("rect", ["class": "refused", "width": "5", "height": "5"])
                page.empty("line", ["class": "hatch", "x1": "0", "y1": "0", "x2": "0", "y2": "5"])
            }
        }
    }

    private static func rectangle(
        _ series: LoginHistogram.Series, _ x: Double, _ y: Double, _ width: Double, _ height: Double,
        to page: inout Markup
    ) {
        let place: (String, String, String, String) = (text(x), text(y), text(width), text(height))
        if series == .refused {
            page.empty(
                "rect", ["fill": "url(#hatch)", "x": place.0, "y": place.1, "width": place.2, "height": place.3])
        } else {
            page.empty(
                "rect",
                [
                    "class": series.styleClass, "x": place.0, "y": place.1, "width": place.2, "height": place.3,
                ])
        }
    }

    private static func legend(to page: inout Markup) {
        page.element("ul", ["class": "legend"]) { page in
            for series in order {
                page.element("li") { page in
                    page.element("svg", ["viewBox": "0 0 14 14", "aria-hidden": "true"]) { page in
                        rectangle(series, 0, 0, 14, 14, to: &page)
                    }
                    page.write(series.name)
                }
            }
        }
    }

    private func table(to page: inout Markup) {
        page.element("details") { page in
            page.element("summary", "The chart as a table")
            page.element("div", ["class": "scroll"]) { page in
                page.element("table") { page in
                    page.element("thead") { page in
                        page.element("tr") { page in
                            page.element(
                                "th", ["scope": "col"], unit.name.prefix(1).uppercased() + unit.name.dropFirst())
                            for series in Self.order {
                                page.element("th", ["scope": "col", "class": "number"], series.name)
                            }
                            page.element("th", ["scope": "col", "class": "number"], "all")
                        }
                    }
                    page.element("tbody") { page in
                        for column in columns where column.total > 0 {
                            page.element("tr") { page in
                                page.element("th", ["scope": "row"], label(column, full: true))
                                for series in Self.order {
                                    page.element(
                                        "td", ["class": "number"], Shown.number(column.counts[series.rawValue]))
                                }
                                page.element("td", ["class": "number"], Shown.number(column.total))
                            }
                        }
                    }
                }
            }
        }
    }

    /// The chart in words.
    private var description: String {
        guard let first = columns.first, let last = columns.last, let most = columns.max(by: { $0.total < $1.total })
        else { return "No requests." }
        return "From \(label(first, full: true)) to \(label(last, full: true)); the most, "
            + "\(Shown.number(most.total)), in \(label(most, full: true)): \(Self.words(most)). "
            + "The table after the chart has all figures."
    }

    private static func words(_ column: LoginHistogram.Column) -> String {
        let parts = order.filter { column.counts[$0.rawValue] > 0 }.map { series in
            "\(Shown.number(column.counts[series.rawValue])) \(series.name)"
        }
        return parts.isEmpty ? "none" : parts.joined(separator: ", ")
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func date(_ hour: Int64, year: Bool = false) -> String {
        let date = CivilTime(seconds: hour * 3_600).date
        let name = months[Int(date.month - 1)]
        return "\(date.day) \(name)" + (year ? " \(date.year)" : "")
    }

    private func label(_ column: LoginHistogram.Column, full: Bool) -> String {
        let civil = CivilTime(seconds: column.hour * 3_600)
        switch unit {
        case .hour:
            let hour = civil.second / 3_600
            let clock = (hour < 10 ? "0" : "") + "\(hour):00"
            return full ? "\(Self.date(column.hour, year: true)), \(clock)" : clock
        case .day: return Self.date(column.hour, year: full)
        case .week: return full ? "the week of \(Self.date(column.hour, year: true))" : Self.date(column.hour)
        case .month: return "\(Self.months[Int(civil.date.month - 1)]) \(civil.date.year)"
        case .year: return "\(civil.date.year)"
        }
    }

    /// A round number that is no less than another, and the steps to it, of which there are two to five.
    static func scale(_ most: Int) -> (limit: Int, step: Int) {
        var step = 1
        var factors = [2, 5, 10].makeIterator()
        var base = 1
        while step < Int.max / 100, most > step * 5 {
            if let factor = factors.next() {
                step = base * factor
                if factor == 10 {
                    base = step
                    factors = [2, 5, 10].makeIterator()
                }
            }
        }
        let steps = max(1, most / step + (most % step == 0 ? 0 : 1))
        return (steps * step, step)
    }

    private static func text(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }
}

extension LoginHistogram.Series {
    /// Its class in the style sheet.
    var styleClass: String {
        switch self {
        case .succeeded: "ran"
        case .open: "open"
        case .failed: "failed"
        case .refused: "refused"
        }
    }
}
