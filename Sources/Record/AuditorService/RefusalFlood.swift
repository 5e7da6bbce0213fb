// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// Makes one record a second of what would be too many: beyond ten refusals a second from one source, the further ones
/// of the same reason are counted.
struct RefusalFlood {
    /// The refusals of one source in a second that are recorded one by one.
    static let limit = 10
    /// The second, in milliseconds.
    static let window: Int64 = 1_000
    /// The most sources that are counted at once; those beyond are recorded one by one.
    static let sourceLimit = 65_536

    private struct Window {
        var start: Int64
        var count: Int
    }

    private struct Kind: Hashable {
        var source: IPAddress?
        var service: Service
        var reason: Reason
    }

    private struct Counted {
        var due: Int64
        var login: Record.Login
        var stamp: Stamp
    }

    private var windows: [IPAddress?: Window] = [:]
    private var counted: [Kind: Counted] = [:]

    init() {}

    /// Whether a refusal is to be recorded as it is; otherwise it is counted, and comes out of `flush`.
    ///
    /// - Parameter gateway: whose process a record of several sessions speaks of.
    mutating func admit(_ login: Record.Login, _ stamp: Stamp, gateway: Sender, now: Int64) -> Bool {
        guard let reason = login.refusal else { return true }
        let source = login.origin.address
        var window = windows[source] ?? Window(start: now, count: 0)
        if now - window.start >= Self.window { window = Window(start: now, count: 0) }
        guard window.count >= Self.limit else {
            guard windows[source] != nil || windows.count < Self.sourceLimit else { return true }
            window.count += 1
            windows[source] = window
            return true
        }
        windows[source] = window
        let kind = Kind(source: source, service: login.origin.service, reason: reason)
        guard var sum = counted[kind] else {
            counted[kind] = Counted(due: window.start + Self.window, login: login, stamp: stamp)
            return false
        }
        sum.login.count += login.count
        sum.stamp.milliseconds = stamp.milliseconds
        // What is not the same for all is said of none.
        sum.stamp.session = nil
        sum.stamp.sender = gateway
        if sum.login.origin.port != login.origin.port { sum.login.origin.port = 0 }
        if sum.login.account != login.account { sum.login.account = nil }
        if sum.login.pool != login.pool { sum.login.pool = nil }
        if sum.login.remoteUser != login.remoteUser { sum.login.remoteUser = nil }
        if sum.login.rule != login.rule { sum.login.rule = nil }
        if sum.login.revision != login.revision { sum.login.revision = nil }
        if sum.login.detail != login.detail { sum.login.detail = nil }
        if sum.login.command != login.command { sum.login.command = nil }
        counted[kind] = sum
        return false
    }

    /// The records of the seconds that are over, or of all.
    mutating func flush(now: Int64, all: Bool = false) -> [(login: Record.Login, stamp: Stamp)] {
        windows = windows.filter { now - $0.value.start < Self.window }
        guard !counted.isEmpty else { return [] }
        let due = counted.filter { all || $0.value.due <= now }
        for kind in due.keys { counted[kind] = nil }
        return due.values.sorted { $0.stamp.milliseconds < $1.stamp.milliseconds }.map { ($0.login, $0.stamp) }
    }

    /// When `flush` next has something, if it does.
    var due: Int64? {
        counted.values.map(\.due).min()
    }
}
