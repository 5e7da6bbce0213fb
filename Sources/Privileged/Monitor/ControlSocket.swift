// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Messages

/// The control socket: RUNTIME/control, for root (or the gateway's own user) alone, by the kernel's word.
struct ControlSocket {
    /// The most administrators at once.
    static let clientLimit = 16

    let path: String
    private let listener: Descriptor
    private(set) var clients: [UInt64: Channel] = [:]
    private var next: UInt64 = 0

    init(path: String) throws {
        self.path = path
        // A socket that an earlier gateway left; the state's lock says that none uses it now.
        try File.remove(path)
        Process.setUmask(0o177)
        defer { Process.setUmask(0o022) }
        listener = try LocalSocket.listen(path)
    }

    var descriptor: Descriptor { listener }

    /// Takes a connection in, if the kernel says that it may be here.
    mutating func accept(into epoll: Epoll) {
        guard let accepted = try? Socket.accept(listener), clients.count < Self.clientLimit else { return }
        let channel = Channel(accepted)
        guard let peer = try? channel.peer(), peer.uid == 0 || peer.uid == Process.userID else { return }
        next += 1
        guard (try? epoll.add(accepted, token: Gateway.Token.client.with(next))) != nil else { return }
        clients[next] = channel
    }

    mutating func drop(_ number: UInt64, from epoll: Epoll) {
        if let channel = clients.removeValue(forKey: number) { epoll.remove(channel.descriptor) }
    }

    func close() {
        try? File.remove(path)
    }
}

extension Gateway {
    func openControl() {
        do {
            let socket = try ControlSocket(path: "\(options.runtimeDirectory)/control")
            try epoll.add(socket.descriptor, token: Token.control.with(0))
            control = socket
        } catch {
            log.say("no control socket: \(error)")
        }
    }

    /// Answers one ask of an administrator.
    func serveClient(_ number: UInt64) {
        guard let channel = control?.clients[number] else { return }
        guard case .message(let message)? = try? channel.receive(limit: 4_096, waiting: false),
            let ask = try? ControlAsk(frame: message.bytes)
        else {
            control?.drop(number, from: epoll)
            return
        }
        var answers: [ControlAnswer] = []
        switch ask {
        case .status:
            answers = [.status(status: status()), .end]
        case .sessions:
            let entries = sessions.entries.values.sorted { $0.number < $1.number }
            answers = entries.map { .session(session: Self.status(of: $0)) }
            answers.append(.end)
        case .terminate(let session):
            guard let entry = sessions.entries.values.first(where: { $0.session == session }) else {
                answers = [.failure(text: "no session \(session) runs")]
                break
            }
            if sessions[entry.number]?.outbox.send(SessionOrder.terminate) != true || entry.phase == .deciding {
                entry.process.signal(Signals.Number.kill)
            }
            answers = [.end]
        case .reload:
            // Answered when the load is over.
            reload(asker: number)
        case .rotate:
            // Answered when the auditor says how it went.
            rotateTrail(asker: number)
        }
        answer(answers, to: number)
    }

    /// Sends answers to an administrator, if there still is one.
    func answer(_ answers: [ControlAnswer], to number: UInt64) {
        guard let channel = control?.clients[number] else { return }
        for answer in answers {
            // An administrator who does not read gets no more; nobody waits for one.
            guard (try? channel.send(answer.encoded(), waiting: false)) != nil else {
                control?.drop(number, from: epoll)
                return
            }
        }
    }

    private func status() -> GatewayStatus {
        GatewayStatus(
            listeners: listeners.bound.map(\.listener),
            rshIsSecuredOff: policy.map { $0.settings.rsh.isEnabled && !$0.settings.serves(.rsh) } ?? false,
            revision: engine == nil ? .none : policy?.revision ?? .none, policyFile: ByteText(options.policy),
            rules: policy?.rules ?? 0, loaded: policy?.loaded ?? 0,
            running: sessions.entries.values.count { $0.phase == .launched }, requests: requests, refused: refused,
            lost: lost, sequence: sequence, covered: covered, checkpoint: checkpointTime, isDurable: isTrailDurable,
            denials: denials,
            helpers: [
                GatewayStatus.Helper(name: "front", pid: front?.process.pid ?? 0),
                GatewayStatus.Helper(name: "engine", pid: engine?.helper.process.pid ?? 0),
                GatewayStatus.Helper(name: "auditor", pid: auditor?.process.pid ?? 0),
            ])
    }

    /// What of denials is heard: the policy says whether sessions have the kernel tell of calls that fail.
    private var denials: GatewayStatus.Denials {
        guard kernelRecords != nil else { return .unheard }
        return (policy?.settings.audit.kernel ?? .off) == .off ? .heard : .heardWithCalls
    }

    private static func status(of entry: SessionTable.Entry) -> SessionStatus {
        SessionStatus(
            session: entry.session, pid: entry.process.pid, service: entry.service, source: entry.source,
            target: entry.target, rule: entry.rule, command: entry.command, started: entry.startedWall)
    }
}
