// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Linux

/// A moment by which something has to have happened; or none.
struct Deadline {
    /// The moment, in milliseconds of the monotonic clock; nil for never.
    private let moment: Int64?

    /// A moment so many milliseconds from now; nil for never.
    init(in milliseconds: Int64?) {
        moment = milliseconds.map { Clock.monotonicMilliseconds().addingReportingOverflow(max($0, 0)) }
            .map { $0.overflow ? .max : $0.partialValue }
    }

    private init(moment: Int64) {
        self.moment = moment
    }

    /// The milliseconds that are left, 0 where it is over; nil for never.
    var milliseconds: Int64? {
        moment.map { max($0 - Clock.monotonicMilliseconds(), 0) }
    }

    /// Whether it is over.
    var isOver: Bool { milliseconds == 0 }

    /// What poll(2) takes for it.
    var pollTime: Int32 {
        milliseconds.map { Int32(clamping: $0) } ?? -1
    }

    /// This one, or a sooner one.
    func orSooner(in milliseconds: Int64) -> Deadline {
        let other = Deadline(in: milliseconds)
        guard let mine = moment, let others = other.moment else { return moment == nil ? other : self }
        return Deadline(moment: min(mine, others))
    }
}
