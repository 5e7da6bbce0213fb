// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import ArgumentParser
import Audit
import Core
import Linux

/// Which records or sessions are meant; all that are given must be true.
struct TrailFilter: ParsableArguments {
    @Option(help: "Only this session: its id, or the first digits of it.")
    var session: String?

    @Option(help: "Only this account or remote user.")
    var user: String?

    @Option(help: "Only from this address or block.")
    var from: String?

    @Option(
        help: """
            Only since then: 90m, 12h, 2d, '1 hour ago', today, yesterday, this-week, 22:00, 2026-11-20, \
            2026-11-20T22:00 in local time, 2026-11-20T22:00Z.
            """)
    var since: String?

    @Option(help: "Only before then; as --since.")
    var until: String?

    @Flag(help: "Only refusals.")
    var denied = false

    /// The filter, with its words understood.
    struct Prepared {
        var session: String?
        var user: ByteText?
        var from: AddressBlock?
        /// Milliseconds since 1970: from then on.
        var since: UInt64?
        /// Milliseconds since 1970: before then.
        var until: UInt64?
        var isDenied: Bool

        /// Whether a record is meant.
        func matches(_ event: TrailEvent) -> Bool {
            let stamp = event.line.stamp
            if let session {
                guard let id = stamp.session, id.description.hasPrefix(session) else { return false }
            }
            if let user {
                guard event.line["acct"] == user || event.line["ruser"] == user else { return false }
            }
            if let from {
                guard let text = event.line["addr"], let address = IPAddress(ascii: text.bytes), from.contains(address)
                else { return false }
            }
            if let since, stamp.milliseconds < since { return false }
            if let until, stamp.milliseconds >= until { return false }
            return !isDenied || event.isRefusal
        }

        /// Whether a session is meant: one that goes on or ended since the one moment, and began before the other.
        func matches(_ found: TrailSession) -> Bool {
            if let session {
                guard let id = found.session, id.description.hasPrefix(session) else { return false }
            }
            if let user {
                guard found.account == user || found.remoteUser == user else { return false }
            }
            if let from {
                guard let address = found.address, from.contains(address) else { return false }
            }
            if let since {
                guard found.state == .running || found.finished >= since else { return false }
            }
            if let until, found.began >= until { return false }
            return !isDenied || found.isRefused
        }

        /// Whether a record's own time is within.
        func matches(milliseconds: UInt64) -> Bool {
            since.map { milliseconds >= $0 } ?? true && until.map { milliseconds < $0 } ?? true
        }

        /// Says of a line, without reading it whole, whether it can be meant; a line that is none of ours always can, so that
        /// it is named. Nil where nothing can be told so.
        var quickly: ((ArraySlice<UInt8>) -> Bool)? {
            guard since != nil || until != nil else { return nil }
            let first = since.map { $0 / 1_000 } ?? 0
            let last = until.map { $0 / 1_000 } ?? .max
            return { line in
                guard let seconds = Self.seconds(of: line) else { return true }
                return first...max(first, last) ~= seconds
            }
        }

        /// The seconds in `msg=audit(SECONDS.`; nil where they do not stand in their place.
        static func seconds(of line: ArraySlice<UInt8>) -> UInt64? {
            let head = line.prefix(64)
            guard let parenthesis = head.firstIndex(of: UInt8(ascii: "(")), head.starts(with: "type=".utf8) else {
                return nil
            }
            var seconds: UInt64 = 0
            for byte in head[parenthesis...].dropFirst() {
                if byte == UInt8(ascii: ".") { return seconds }
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                let (shifted, overflowed) = seconds.multipliedReportingOverflow(by: 10)
                guard !overflowed else { return nil }
                let (sum, carried) = shifted.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
                guard !carried else { return nil }
                seconds = sum
            }
            return nil
        }
    }

    /// Understands the words.
    func prepared() throws -> Prepared {
        var result = Prepared(isDenied: denied)
        if let session {
            guard let digits = Self.digits(ofSession: session) else {
                throw ValidationError("--session takes 1 to 32 hexadecimal digits, not '\(session)'.")
            }
            result.session = digits
        }
        result.user = user.map { ByteText($0) }
        if let from {
            guard let block = Self.block(from) else {
                throw ValidationError("--from takes an address or a block such as 10.20.0.0/16, not '\(from)'.")
            }
            result.from = block
        }
        result.since = try since.map { try Self.moment($0, "--since") }
        result.until = try until.map { try Self.moment($0, "--until") }
        return result
    }

    func validate() throws {
        _ = try prepared()
    }

    /// What the filter says, for the head of a report; empty where it lets everything through.
    var words: [String] {
        [
            session.map { "session \($0)" }, user.map { "user \($0)" }, from.map { "from \($0)" },
            since.map { "since \($0)" }, until.map { "until \($0)" }, denied ? "refusals alone" : nil,
        ].compactMap { $0.map { ByteText($0).printable } }
    }

    /// The first digits of a session's id, as records have them; nil for anything else.
    static func digits(ofSession text: String) -> String? {
        let digits = text.lowercased()
        let isHexadecimal = digits.utf8.allSatisfy { Hexadecimal.bytes([$0, $0]) != nil }
        return (1...32).contains(digits.utf8.count) && isHexadecimal ? digits : nil
    }

    private static func block(_ text: String) -> AddressBlock? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        guard parts.count == 2, let last = parts.last else { return AddressBlock(address) }
        return Int(last).flatMap { AddressBlock(base: address, prefixLength: $0) }
    }

    private static func moment(_ text: String, _ option: String) throws -> UInt64 {
        let zone = LocalZone.ofThisHost
        guard let moment = Moment(text, now: UInt64(max(0, Clock.wallMilliseconds())), zone) else {
            throw ValidationError(
                "\(option) takes 90m, 12h, 2d, '1 hour ago', today, yesterday, this-week, 22:00, 2026-11-20 or "
                    + "2026-11-20T22:00, not '\(text)'.")
        }
        return moment.milliseconds
    }
}
