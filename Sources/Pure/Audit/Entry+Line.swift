// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

extension Entry {
    /// Reads an entry back from its line; of a command in several lines, the part that this line holds.
    ///
    /// Nil where the fields are not those that an entry of the type has. Fields named in `cut=` come back shortened.
    public init?(line: TrailLine) {
        guard let entry = LineReader(line: line).entry() else { return nil }
        self = entry
    }
}

/// The place of a line among those of one command.
public struct CommandPart: Sendable, Hashable {
    /// Which one, from 1.
    public var number: Int
    /// Of how many.
    public var count: Int

    /// The most parts of a command: each holds a byte of it.
    public static let limit = 99_999

    /// The part that a line is; nil where the command is whole in one line.
    public init?(line: TrailLine) {
        guard let text = line["part"]?.bytes else { return nil }
        let halves = text.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2, let first = halves.first, let last = halves.last,
            let number: Int = FieldText.number(first), let count: Int = FieldText.number(last),
            number >= 1, number <= count, count <= Self.limit
        else { return nil }
        self.number = number
        self.count = count
    }
}

private struct LineReader {
    let line: TrailLine

    func entry() -> Entry? {
        switch line.type {
        case .serviceStart:
            guard let unit = text("unit") else { return nil }
            return .record(.serviceStart(unit: unit))
        case .serviceStop:
            guard let unit = text("unit"), let reason = text("reason"), let isSuccess else { return nil }
            return .record(.serviceStop(unit: unit, reason: reason, isFailure: !isSuccess))
        case .configuration:
            return configuration()
        case .authentication:
            guard let origin, let account = line["acct"], let grantors = text("grantors"), let isSuccess else {
                return nil
            }
            let failure = reason("reason")
            guard isSuccess == (failure == nil) else { return nil }
            return .record(
                .authentication(
                    Record.Authentication(
                        origin: origin, account: account, grantors: grantors, failure: failure, detail: detail,
                        pool: text("pool"))))
        case .login:
            return login()
        case .command:
            guard let origin, let account = line["acct"], let sandbox = text("sandbox"),
                let argumentCount: Int = number("argc")
            else { return nil }
            return .record(
                .command(
                    Record.Command(
                        origin: origin, account: account, commandLine: line["cmd"] ?? ByteText([]),
                        program: line["program"] ?? ByteText([]), argumentCount: argumentCount, sandbox: sandbox,
                        limits: text("limits"))))
        case .end:
            return end()
        case .abnormalEnd:
            return denial()
        case .error:
            if text("op") == Record.Denial.operation { return denial() }
            guard let operation = text("op"), let detail else { return nil }
            guard let origin else {
                guard let subject = Entry.Subject(rawValue: operation) else { return nil }
                return .note(Entry.Note(subject: subject, detail: detail))
            }
            guard let account = line["acct"] else { return nil }
            return .record(
                .notice(Record.Notice(origin: origin, account: account, operation: operation, detail: detail)))
        }
    }

    private func configuration() -> Entry? {
        guard let file = line["file"], let isSuccess else { return nil }
        guard isSuccess else {
            guard let errors = line["errors"] else { return nil }
            return .record(.policyRejected(file: file, errors: errors))
        }
        guard let revision, let rules: Int = number("rules") else { return nil }
        return .record(.policyLoaded(revision: revision, file: file, rules: rules))
    }

    private func login() -> Entry? {
        guard let account = line["acct"], let isSuccess else { return nil }
        let refusal = reason("reason")
        guard isSuccess == (refusal == nil) else { return nil }
        guard let origin else {
            guard let refusal else { return nil }
            return .lostRequest(refusal)
        }
        guard let count = line["count"] == nil ? 1 : number("count"), (1...Record.Login.countLimit).contains(count)
        else { return nil }
        var rule: RuleReference?
        if let name = text("rule") {
            guard let place = line["at"]?.bytes, let colon = place.lastIndex(of: UInt8(ascii: ":")),
                let number: Int = FieldText.number(place[colon...].dropFirst())
            else { return nil }
            let file = String(decoding: place[..<colon], as: UTF8.self)
            rule = RuleReference(name: name, place: FilePlace(file: file, line: number))
        }
        var command: Record.RefusedCommand?
        if let text = line["cmd"] {
            guard let length = line["cmdlen"] == nil ? text.bytes.count : number("cmdlen"),
                let read = Record.RefusedCommand(beginning: text, of: length)
            else { return nil }
            command = read
        }
        return .record(
            .login(
                Record.Login(
                    origin: origin, account: line.accountIsUnknown ? nil : account, remoteUser: line["ruser"],
                    refusal: refusal, rule: rule, revision: revision, detail: detail, command: command,
                    count: count, pool: text("pool"))))
    }

    private func denial() -> Entry? {
        guard let origin, let account = line["acct"], text("op") == Record.Denial.operation else { return nil }
        guard let count = line["count"] == nil ? 1 : number("count"), (1...Record.Denial.countLimit).contains(count)
        else { return nil }
        var signal: UInt8?
        if line.type == .abnormalEnd {
            guard let number: UInt8 = number("sig") else { return nil }
            signal = number
        }
        let subject: Record.Denial.Subject
        if let call = text("syscall") {
            subject = .call(call.isEmpty ? nil : call)
        } else if let access = text("access") {
            subject = .access(access, path: line["file"])
        } else {
            subject = .further
        }
        return .record(
            .denial(
                Record.Denial(
                    origin: origin, account: account, subject: subject, signal: signal, program: line["program"],
                    count: count)))
    }

    private func end() -> Entry? {
        guard let origin, let account = line["acct"] else { return nil }
        let outcome: Record.Outcome
        if let status: UInt8 = number("status") {
            outcome = .status(status)
        } else if let signal: UInt8 = number("signal") {
            outcome = .signal(signal)
        } else if text("reason") == "lost", let cause = text("cause") {
            outcome = .lost(reason: cause)
        } else {
            return nil
        }
        return .record(
            .end(
                Record.End(
                    origin: origin, account: account, outcome: outcome, bytesIn: number("in") ?? 0,
                    bytesOut: number("out") ?? 0, bytesErr: number("err") ?? 0, milliseconds: number("ms") ?? 0,
                    limit: text("limit"), leftovers: number("leftovers"), droppedStderr: number("err-dropped") ?? 0,
                    ignoredSignals: number("signals-ignored") ?? 0)))
    }

    private var origin: Record.Origin? {
        guard let service = text("service").flatMap({ Service(name: $0) }), let port: UInt16 = number("port"),
            let address = line["addr"]
        else { return nil }
        guard !address.isEmpty else { return Record.Origin(service: service, address: nil, port: port) }
        guard let peer = IPAddress(ascii: address.bytes) else { return nil }
        return Record.Origin(service: service, address: peer, port: port)
    }

    private var isSuccess: Bool? {
        switch text("res") {
        case "success": true
        case "failed": false
        default: nil
        }
    }

    private var revision: Revision? {
        guard let bytes = line["revision"]?.bytes, bytes.starts(with: "sha256:".utf8),
            let digest = Hexadecimal.bytes(bytes.dropFirst("sha256:".utf8.count))
        else { return nil }
        return Revision(bytes: digest)
    }

    private var detail: ByteText? {
        line["errors"] ?? line["file"]
    }

    /// A word of our own; what was cut within a character is repaired.
    private func text(_ key: String) -> String? {
        line[key].map { String(decoding: $0.bytes, as: UTF8.self) }
    }

    private func reason(_ key: String) -> Reason? {
        text(key).flatMap { Reason(name: $0) }
    }

    private func number<Value: FixedWidthInteger>(_ key: String) -> Value? {
        line[key].flatMap { FieldText.number($0.bytes) }
    }
}
