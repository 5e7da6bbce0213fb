// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux
import Messages

/// A session: one request, from the hand-over to the end record, in a process of its own.
public enum Session {
    /// Becomes the session of a request. Called in a fork of the monitor, and never returns.
    public static func run(_ input: SessionInput, _ parts: SessionDescriptors) -> Never {
        do {
            let placed = try parts.placed()
            try becomeOwn(of: input.monitorPID)
            serve(input, placed)
        } catch {
            StandardError("portcullisd").say("session \(input.session): \(error)")
            Process.exitNow(1)
        }
    }

    /// Makes a process of its own of a fork that has dropped the monitor's descriptors: with a command's signals, ending
    /// with the monitor, and readable by nobody.
    static func becomeOwn(of monitor: Int32) throws {
        Signals.reset()
        Signals.ignore(Signals.Number.pipe)
        try Process.dieWithParent()
        guard Process.parentID == monitor else { Process.exitNow(1) }
        try Process.becomeUndumpable()
    }

    /// Serves the one request, and ends.
    static func serve(_ input: SessionInput, _ parts: SessionDescriptors) -> Never {
        Process.setTitle("portcullisd: session [priv]")
        RequestSession(input, parts).serve()
    }
}

/// The session's life, in the order of docs/ARCHITECTURE.md, "How a request travels".
final class RequestSession {
    let input: SessionInput
    let parts: SessionDescriptors
    let log = StandardError("portcullisd")
    var trail: TrailLink
    let monitor: Channel
    let front: Channel

    /// From the kernel, never from front's word.
    var origin = Record.Origin(service: .rexec, address: nil, port: 0)
    var claims: UnverifiedRequest?
    var kernelTrail: KernelTrail
    var hasTemporaryDirectory = false
    /// The limits that PAM's modules set, for the command.
    var moduleLimits: ResourceLimits.Snapshot?
    /// The target's group ids, once they were looked up.
    var knownGroups: [UInt32]?
    /// The guest that this is, once the policy has decided on one.
    var guest: Guest?
    /// The place of a pool's account that was asked for by its own name, until the account is given back.
    var accountPlace: Descriptor?
    /// The control group of the command, from its making to its removal.
    var cgroup: SessionCgroup?
    /// Which limits of the group the command came to, once that was asked.
    var groupHits: GroupHits?
    /// PAM's modules, while they close beside this process.
    var closing: ClosingModules?

    init(_ input: SessionInput, _ parts: SessionDescriptors) {
        self.input = input
        self.parts = parts
        trail = TrailLink(parts.auditor)
        monitor = Channel(parts.monitor)
        front = Channel(parts.front)
        kernelTrail = KernelTrail(
            input.settings.audit.kernel, session: input.session, executable: input.executable)
    }

    var settings: Settings { input.settings }

    func serve() -> Never {
        guard let claims = receiveRequest() else {
            // Nobody is answered, but the record says whose request it was.
            _ = try? establishOrigin()
            refuse(.unavailable, "front handed over no request")
        }
        self.claims = claims
        let password = receivePassword(claims)

        let peer: Endpoint
        let service: Service
        do {
            (peer, service) = try establishOrigin()
        } catch {
            refuse(.unavailable, "\(error)")
        }
        let takesPassword = service == .rexec || settings.rsh.takesPasswordField
        guard (service == .rsh) == (claims.remoteUser != nil),
            claims.hasPassword ? takesPassword : service == .rsh
        else {
            refuse(.protocolError, "the handshake is not of the service's form")
        }
        tell(.asked(service: service, source: peer.address, target: ByteText(claims.target.bytes)))
        Process.setTitle("portcullisd: session \(claims.target) \(service.name) \(peer.address) [priv]")

        // 4. The account and the program, then the engine.
        guard let time = Clock.localTime() else { refuse(.unavailable, "no local time") }
        let makeRequest = { (account: Account, command: RequestedCommand) in
            Request(
                service: service, source: peer.address, sourcePort: peer.port, remoteUser: claims.remoteUser,
                target: account, command: command, time: time)
        }
        let entry: AccountEntry
        let command: RequestedCommand
        let permit: Permit
        if service == .rexec, claims.target == .guest, !settings.pools.isEmpty {
            command = requestedCommand(claims.command)
            let given = admitGuest(password) { [command] in makeRequest($0, command) }
            entry = given.entry
            permit = given.permit
        } else {
            entry = resolveAccount(claims.target)
            let account = describe(entry, as: claims.target)
            command = requestedCommand(claims.command)
            switch decide(makeRequest(account, command)) {
            case .permitted(let given):
                permit = given
            case .denied(let denial):
                refuse(denial.reason, rule: denial.rule, isDecided: true)
            case .unavailable:
                refuse(.unavailable, "no engine answered")
            }
        }
        let terms = permit.terms
        let plan = planLaunch(terms, command: command, commandLine: claims.command, entry: entry)

        // 5. Trust, or the password; then account and session management.
        let identity = authenticate(
            service, entry: entry, peer: peer, remoteUser: claims.remoteUser, terms: terms, password: password)

        // 7. The record of the decision and of the start.
        trail.send(
            .login(
                Record.Login(
                    origin: origin, account: targetText, remoteUser: remoteUser, refusal: nil, rule: terms.rule,
                    revision: input.revision, pool: guest?.pool)))
        launch(permit, plan, identity)
    }

    var remoteUser: ByteText? { claims?.remoteUser.map { ByteText($0.bytes) } }
    /// The account that this is about: the one that was asked for, or that a guest is given.
    var target: UserName? { guest?.name ?? claims?.target }
    var targetText: ByteText { ByteText(target?.bytes ?? []) }

    func decide(_ request: Request) -> EngineLink.Answer {
        EngineLink.decide(request, number: input.number, revision: input.revision, on: parts.engine)
    }

    // MARK: What front hands over

    private func receiveRequest() -> UnverifiedRequest? {
        // Front may have died since.
        guard case .message(let message)? = try? front.receive(limit: FrameFormat.limit),
            case .request(let request)? = try? RequestFrame(frame: message.bytes)
        else { return nil }
        return request
    }

    private func receivePassword(_ claims: UnverifiedRequest) -> Secret? {
        guard claims.hasPassword else { return nil }
        // Straight into memory that is zeroed; no copy stays in a frame.
        do {
            let secret = try Secret()
            guard try secret.receive(from: front) == .complete else { return nil }
            return secret
        } catch {
            return nil
        }
    }

    /// Reads who called whom from the client's sockets.
    ///
    /// TRUST: after this the peer, the local address and the service are the kernel's word; a secondary is of the same
    /// two hosts.
    private func establishOrigin() throws -> (Endpoint, Service) {
        let peer = try Socket.peer(parts.primary)
        let local = try Socket.local(parts.primary)
        guard let service = input.service(at: local) else { throw SessionError("no service listens on \(local)") }
        origin = Record.Origin(service: service, address: peer.address, port: peer.port)
        // Front has refused these already; a front that was taken over has not.
        if service == .rsh, settings.rsh.requiresReservedSourcePort, !ConnectBackRule.isReserved(peer.port) {
            refuse(.sourcePort, "from port \(peer.port)")
        }
        if let secondary = parts.secondary {
            let back = try Socket.peer(secondary)
            let own = try Socket.local(secondary)
            guard back.address == peer.address, own.address == local.address,
                ConnectBackRule.permits(port: back.port, of: service),
                service == .rexec || ConnectBackRule.permits(port: own.port, of: service)
            else { throw SessionError("the secondary is of another host or port") }
        }
        return (peer, service)
    }

    // MARK: Refusal

    /// Records a refusal, has front answer it, and ends.
    ///
    /// - Parameter isDecided: whether the policy decided, so that its revision belongs to the record.
    func refuse(_ reason: Reason, _ detail: String? = nil, rule: RuleReference? = nil, isDecided: Bool = false) -> Never
    {
        let record = Record.login(
            Record.Login(
                origin: origin, account: target.map { ByteText($0.bytes) }, remoteUser: remoteUser, refusal: reason,
                rule: rule, revision: isDecided || rule != nil ? input.revision : nil,
                detail: detail.map { ByteText($0) }, command: claims.map { Record.RefusedCommand($0.command) },
                pool: guest?.pool))
        trail.send(record)
        _ = kernelTrail.send(record)
        // Refused it is anyway; but the record goes first wherever there is a trail to write. Where there is none the
        // monitor has the next auditor record it.
        let isRecorded = trail.settle()
        removeTemporaryDirectory()
        tell(isRecorded ? .refused(reason: reason) : .unrecorded(reason: reason))
        try? front.send(RequestAnswer.refuse(reason: reason).encoded())
        endGuest()
        Process.exitNow(0)
    }

    func tell(_ report: SessionReport) {
        try? monitor.send(report.encoded())
    }
}

extension SessionInput {
    /// The service behind a local address: the listener of the very address, else one of all addresses on that port.
    func service(at local: Endpoint) -> Service? {
        let here = listeners.filter { $0.endpoint.port == local.port }
        let exact = here.first { $0.endpoint.address == local.address }
        let wildcard = here.first {
            $0.endpoint.address.value == 0 && $0.endpoint.address.family == local.address.family
        }
        return (exact ?? wildcard)?.service
    }
}
