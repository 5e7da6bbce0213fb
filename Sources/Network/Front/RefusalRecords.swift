// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// Front's refusals on their way to the auditor, which answers none of them.
///
/// A flood of refusals while the auditor is slow, or gone and not yet replaced, costs no more than `limit` records:
/// further ones of the same source, service and reason are counted in one that waits, and beyond that in one without
/// a source. None is dropped.
struct RefusalRecords {
    /// The most records that wait.
    static let limit = 4_096
    /// The most refusals that one record stands for; the auditor takes no more.
    static let countLimit = 1_000_000

    private struct Key: Hashable {
        var service: Service
        var address: IPAddress?
        var reason: Reason?
    }

    /// The channel; nil while there is no auditor.
    private(set) var channel: Linux.Channel?
    private var number: UInt64 = 0
    private var waiting: [Record.Login] = []
    private var places: [Key: Int] = [:]

    init(_ channel: Linux.Channel?) {
        self.channel = channel
    }

    /// Whether records wait for room.
    var isBlocked: Bool { !waiting.isEmpty }

    /// How many records wait.
    var count: Int { waiting.count }

    /// The auditor is gone.
    mutating func auditorIsGone() {
        channel = nil
    }

    /// Another auditor has taken over; what waits is sent with the next flush.
    mutating func auditorIsBack(_ channel: Linux.Channel) {
        self.channel = channel
        number = 0
    }

    /// Sends a record, or keeps it.
    ///
    /// - Throws: where the auditor is gone; the record is kept.
    mutating func send(_ login: Record.Login) throws(SystemError) {
        guard waiting.isEmpty else { return keep(login) }
        var failure: SystemError?
        do {
            if try transmit(login) { return }
        } catch {
            failure = error
        }
        keep(login)
        if let failure { throw failure }
    }

    /// Sends what waits, as far as there is room.
    ///
    /// - Throws: where the auditor is gone; what was not sent is kept.
    mutating func flush() throws(SystemError) {
        var sent = 0
        defer {
            waiting.removeFirst(sent)
            places = places.compactMapValues { $0 >= sent ? $0 - sent : nil }
        }
        for login in waiting {
            guard try transmit(login) else { return }
            sent += 1
        }
    }

    /// Sends a record; false where there is no room.
    private mutating func transmit(_ login: Record.Login) throws(SystemError) -> Bool {
        guard let channel else { return false }
        do {
            let frame = RecordFrame.record(number: number + 1, record: .login(login))
            try channel.send(frame.encoded(), waiting: false)
        } catch  where error.wouldBlock {
            return false
        }
        number += 1
        return true
    }

    private mutating func keep(_ login: Record.Login) {
        var login = login
        var key = Key(service: login.origin.service, address: login.origin.address, reason: login.refusal)
        if places[key] == nil, waiting.count >= Self.limit {
            // At most one of these for each service and reason, so they stand beside the limit.
            key.address = nil
            login = Record.Login(
                origin: Record.Origin(service: login.origin.service, address: nil, port: 0), account: nil,
                remoteUser: nil, refusal: login.refusal, rule: nil, revision: nil,
                detail: "too many at once to tell each source", count: login.count)
        }
        if let place = places[key], waiting.indices.contains(place), waiting[place].count < Self.countLimit {
            waiting[place].count += login.count
        } else {
            places[key] = waiting.count
            waiting.append(login)
        }
    }
}
