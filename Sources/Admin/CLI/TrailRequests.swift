// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core

/// A request that the policy was asked about, as far as its records hold it.
struct RecordedRequest {
    /// What the policy of then decided.
    enum Outcome {
        /// By this permit, and what came of it.
        case permitted(RuleReference, Record.Command)
        /// For this reason, by this forbid; the command is nil where the record has none.
        case refused(Reason, RuleReference?, Record.RefusedCommand?)
    }

    /// When the decision was recorded, in milliseconds since 1970.
    var milliseconds: UInt64
    var session: SessionID?
    var service: Service
    var source: IPAddress
    var port: UInt16
    var remoteUser: UserName?
    /// The account; of a guest the one that was decided on.
    var target: UserName
    /// The guest pool that the account was of.
    var pool: String?
    /// The policy that decided, where the record names it.
    var revision: Revision?
    /// How many requests the record stands for.
    var count: Int
    var outcome: Outcome
}

/// Puts requests together from the lines of a trail, in their order; only requests under way are kept.
struct TrailRequests {
    /// What a line completes.
    enum Found {
        /// A request that the policy decided.
        case request(RecordedRequest)
        /// Requests that were refused before the policy was asked, or after it had permitted them.
        case elsewhere(Reason, count: Int)
        /// Requests that the policy decided and the records do not hold.
        case incomplete(Gap, count: Int)
    }

    /// What a record lacks.
    enum Gap: String, CaseIterable {
        case noDecision = "the decision is not on this trail"
        case noCommand = "permitted, but no start is on this trail"
        case partOfCommand = "the command is not whole"
        case severalInOne = "one record of several requests, which differ"
        case noName = "no address or no account"
    }

    /// The most requests that are under way at once; of more, the first is given up.
    private static let limit = 65_536

    private struct Pending {
        var login: Record.Login
        var milliseconds: UInt64
        var command: Record.Command?
        var nextPart = 1
    }

    private var pending: [SessionID: Pending] = [:]
    /// The order of `pending` from `oldest` on; sessions that are done may still stand in it.
    private var order: [SessionID] = []
    private var oldest = 0
    /// The sessions whose start was seen without a decision, so that each counts once.
    private var last: SessionID?

    /// Takes a line; several for a request that is given up and one that is complete.
    mutating func take(_ line: TrailLine, _ entry: Entry) -> [Found] {
        let session = line.stamp.session
        switch entry {
        case .record(.login(let login)):
            guard let refusal = login.refusal else { return permitted(login, line.stamp) }
            if let session, pending.removeValue(forKey: session) != nil {
                // Permitted, and then it could not be started: the refusal is not the policy's.
                return [.incomplete(.noCommand, count: 1)]
            }
            return [refused(login, refusal, line.stamp)]
        case .lostRequest(let reason):
            return [.elsewhere(reason, count: 1)]
        case .record(.command(let command)):
            return session.flatMap { started(command, CommandPart(line: line), $0, line.stamp) }.map { [$0] } ?? []
        case .record(.end):
            guard let session, pending.removeValue(forKey: session) != nil else { return [] }
            return [.incomplete(.noCommand, count: 1)]
        // What says nothing of a request that the login does not say. A type that is new is looked at here.
        case .record(.serviceStart), .record(.serviceStop), .record(.policyLoaded), .record(.policyRejected),
            .record(.authentication), .record(.notice), .record(.denial), .note:
            return []
        }
    }

    /// The requests that the trail leaves open.
    mutating func finish() -> [Found] {
        defer { pending = [:] }
        return pending.isEmpty ? [] : [.incomplete(.noCommand, count: pending.count)]
    }

    private mutating func permitted(_ login: Record.Login, _ stamp: Stamp) -> [Found] {
        guard let session = stamp.session, login.rule != nil else { return [.incomplete(.noDecision, count: 1)] }
        var found: [Found] = []
        while pending.count >= Self.limit, oldest < order.count {
            if pending.removeValue(forKey: order[oldest]) != nil { found.append(.incomplete(.noCommand, count: 1)) }
            oldest += 1
        }
        pending[session] = Pending(login: login, milliseconds: stamp.milliseconds)
        order.append(session)
        // Rarely, so that a line costs the same however many sessions were before it.
        if order.count > 4 * Self.limit {
            order.removeSubrange(..<oldest)
            oldest = 0
            order.removeAll { pending[$0] == nil }
        }
        return found
    }

    private func refused(_ login: Record.Login, _ reason: Reason, _ stamp: Stamp) -> Found {
        let count = max(1, login.count)
        // A session that finds no shell says command-not-found, too, but not in the policy's name.
        let isDecided = login.revision != nil || count > 1
        switch reason {
        case .serviceDisabled, .forbidden, .needsShell, .commandNotFound, .noRule:
            guard isDecided else { return .elsewhere(reason, count: count) }
        case .unknownUser, .untrusted, .badCredentials, .accountRefused, .sandboxUnavailable, .auditUnavailable,
            .timeout, .unavailable, .sourcePort, .limit, .penalty, .protocolError:
            return .elsewhere(reason, count: count)
        }
        let outcome = RecordedRequest.Outcome.refused(reason, login.rule, login.command)
        guard let request = request(login, stamp.milliseconds, stamp.session, outcome) else {
            return .incomplete(count > 1 ? .severalInOne : .noName, count: count)
        }
        return .request(request)
    }

    private mutating func started(
        _ command: Record.Command, _ part: CommandPart?, _ session: SessionID, _ stamp: Stamp
    ) -> Found? {
        guard var known = pending.removeValue(forKey: session) else {
            guard (part?.number ?? 1) == (part?.count ?? 1), last != session else { return nil }
            last = session
            return .incomplete(.noDecision, count: 1)
        }
        let number = part?.number ?? 1
        if known.command == nil {
            known.command = command
        } else {
            known.command?.commandLine.bytes += command.commandLine.bytes
            known.command?.program.bytes += command.program.bytes
        }
        let length = max(known.command?.commandLine.count ?? 0, known.command?.program.count ?? 0)
        guard number == known.nextPart, length <= ServiceSettings.commandLengthLimit else {
            last = session
            return .incomplete(.partOfCommand, count: 1)
        }
        known.nextPart += 1
        guard number == part?.count ?? 1, let whole = known.command else {
            pending[session] = known
            return nil
        }
        guard let rule = known.login.rule,
            let request = request(known.login, known.milliseconds, session, .permitted(rule, whole))
        else { return .incomplete(.noName, count: 1) }
        return .request(request)
    }

    private func request(
        _ login: Record.Login, _ milliseconds: UInt64, _ session: SessionID?, _ outcome: RecordedRequest.Outcome
    ) -> RecordedRequest? {
        guard let source = login.origin.address, let target = login.account.flatMap({ UserName(bytes: $0.bytes) })
        else { return nil }
        let remoteUser = login.remoteUser.flatMap { UserName(bytes: $0.bytes) }
        guard login.origin.service == .rexec || remoteUser != nil else { return nil }
        return RecordedRequest(
            milliseconds: milliseconds, session: session, service: login.origin.service, source: source,
            port: login.origin.port, remoteUser: remoteUser, target: target, pool: login.pool, revision: login.revision,
            count: max(1, login.count), outcome: outcome)
    }
}
