// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import HostTrustFiles
import KernelAudit
import Linux
import Messages
import PAM
import PasswordHash
import Trust

/// What authentication established, and what has to be closed when the command has ended.
final class EstablishedIdentity {
    private let transaction: PAMTransaction?
    /// `NAME=VALUE` from PAM's modules.
    let environment: [ByteText]
    /// What PAM's modules left as limits, for the command; nil where none was asked.
    let limits: ResourceLimits.Snapshot?

    init(_ transaction: PAMTransaction? = nil) {
        self.transaction = transaction
        environment = transaction?.environment() ?? []
        limits = transaction?.limits
    }

    /// Whether there are modules that close something.
    var hasModules: Bool { transaction != nil }
    /// Whether another process closes it.
    var isClosed = false

    /// Closes PAM's session and credentials, once.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        transaction?.close()
    }
}

/// Trust and passwords: only for what the engine would permit.
extension RequestSession {
    /// Establishes who asks, or refuses.
    ///
    /// TRUST: on return the remote user (RSH) or the password (REXEC, or RSH with a password field) was believed by what
    /// the policy names, or this is a guest, who proves nothing; and the account may be used now, and is no guest's but
    /// this one's.
    ///
    /// ORDER: who has proved nothing keeps no guest out; no module manages, and nothing starts as, an account that a guest
    /// may have.
    func authenticate(
        _ service: Service, entry: AccountEntry, peer: Endpoint, remoteUser: UserName?, terms: Terms,
        password: Secret?
    ) -> EstablishedIdentity {
        guard let claims else { refuse(.unavailable) }
        let identity: EstablishedIdentity
        switch service {
        case .rexec where guest != nil:
            identity = establishGuest(peer: peer)
        case .rexec:
            guard let password else { refuse(.badCredentials, "no password came") }
            identity = verifyPassword(
                password, of: .rexec, entry: entry, peer: peer, remoteUser: nil, target: claims.target)
            password.erase()
        case .rsh:
            guard let remoteUser else { refuse(.protocolError) }
            if claims.hasPassword {
                // The password is the proof: host trust is not asked, whatever it would say.
                guard let password else { refuse(.badCredentials, "no password came") }
                let verified = verifyPassword(
                    password, of: .rsh, entry: entry, peer: peer, remoteUser: remoteUser, target: claims.target)
                password.erase()
                if case .pam = settings.rsh.authentication {
                    // The PAM service that checked the password has managed the account, too.
                    identity = verified
                    break
                }
            } else {
                establishTrust(entry: entry, peer: peer, remoteUser: remoteUser, target: claims.target, terms: terms)
                keepGuestsOut(of: entry)
            }
            switch settings.rsh.accountManagement {
            case .none:
                checkAccount(claims.target)
                identity = EstablishedIdentity()
            case .pam(let name):
                do throws(PAMError) {
                    let transaction = try PAMTransaction(
                        service: name, user: claims.target, remoteHost: peer.address, remoteUser: remoteUser,
                        terminal: service, keeping: try surroundings())
                    identity = try open(transaction)
                } catch {
                    refuse(error.reason, "\(error)")
                }
            }
        }
        takeLoginIdentity(entry)
        renewProtection()
        return identity
    }

    /// Every change of credentials, a PAM module's too, clears both (prctl(2), PR_SET_PDEATHSIG and PR_SET_DUMPABLE).
    private func renewProtection() {
        do {
            try Process.dieWithParent()
            try Process.becomeUndumpable()
        } catch {
            refuse(.unavailable, "\(error)")
        }
        // The monitor may have died in between.
        guard Process.parentID == input.monitorPID else { Process.exitNow(1) }
    }

    func recordAuthentication(_ grantors: String, failure: Reason?, _ detail: String?) {
        let record = Record.authentication(
            Record.Authentication(
                origin: origin, account: targetText, grantors: grantors, failure: failure,
                detail: detail.map { ByteText($0) }, pool: guest?.pool))
        trail.send(record)
        // ORDER: before the login identity is the target's, whose record this is not yet. libpam sends its own to the kernel.
        if !grantors.hasPrefix("pam:") { _ = kernelTrail.send(record) }
    }

    // MARK: Passwords

    private func verifyPassword(
        _ password: Secret, of service: Service, entry: AccountEntry, peer: Endpoint, remoteUser: UserName?,
        target: UserName
    ) -> EstablishedIdentity {
        switch settings[service].authentication {
        case .file(let name):
            let file = CredentialsFile(path: name.resolved(in: input.stateDirectory))
            // Read in the check's place, too: as many as may ask at once would otherwise hold a large file each.
            let answer = inCheckPlace { file.verify(user: target, password: password) }
            switch answer {
            case .verified:
                break
            case .refused(let text):
                recordAuthentication("credentials-file", failure: .badCredentials, text)
                refuse(.badCredentials, text)
            case .unusable(let text):
                recordAuthentication("credentials-file", failure: .unavailable, text)
                refuse(.unavailable, text)
            }
            recordAuthentication("credentials-file", failure: nil, nil)
            keepGuestsOut(of: entry)
            checkAccount(target)
            return EstablishedIdentity()
        case .pam(let name):
            do throws(PAMError) {
                let transaction = try PAMTransaction(
                    service: name, user: target, remoteHost: peer.address, remoteUser: remoteUser, terminal: service,
                    keeping: try surroundings())
                try inCheckPlace { () throws(PAMError) in try transaction.authenticate(password) }
                recordAuthentication("pam:\(name)", failure: nil, nil)
                keepGuestsOut(of: entry)
                if let accountPlace { transaction.keep(accountPlace) }
                return try open(transaction)
            } catch {
                if error.step == .authenticate || error.step == .start {
                    recordAuthentication("pam:\(name)", failure: error.reason, "\(error)")
                }
                refuse(error.reason, "\(error)")
            }
        }
    }

    /// Waits for one of the gateway's places for password checks, and holds it for the time of a check.
    ///
    /// The wait counts against authentication-timeout: the monitor ends what overstays it.
    private func inCheckPlace<Answer, Failure: Error>(_ check: () throws(Failure) -> Answer) throws(Failure) -> Answer {
        tell(.passwordCheck)
        awaitCheckPlace()
        defer { tell(.passwordChecked) }
        return try check()
    }

    private func awaitCheckPlace() {
        while true {
            switch try? monitor.receive(limit: 64, descriptorLimit: 1) {
            case .message(let message):
                switch try? SessionOrder(frame: message.bytes) {
                case .passwordCheck: return
                case .auditor: if let fresh = message.descriptors.first { trail.resume(fresh) }
                case .terminate: refuse(.unavailable, "the gateway stops")
                case nil: refuse(.unavailable, "the monitor broke its protocol")
                }
            case .nothing:
                continue
            case .closed, nil:
                Process.exitNow(1)
            }
        }
    }

    /// What PAM's modules may not keep changed of this process: its own descriptors are what they were.
    private func surroundings() throws(PAMError) -> ProcessSurroundings {
        let place = guest?.place ?? accountPlace
        return try ProcessSurroundings(
            descriptors: Array(0..<parts.end) + (place.map { [$0.number] } ?? []))
    }

    /// Account, credentials and session of PAM.
    private func open(_ transaction: PAMTransaction) throws(PAMError) -> EstablishedIdentity {
        do throws(PAMError) {
            try transaction.checkAccount()
            try transaction.establishCredentials()
            try transaction.openSession()
        } catch {
            transaction.close()
            throw error
        }
        return EstablishedIdentity(transaction)
    }

    /// A guest's account is managed as any other; no password is looked at, and no hash costs anything.
    private func establishGuest(peer: Endpoint) -> EstablishedIdentity {
        guard let guest else { refuse(.unavailable) }
        recordAuthentication("guest-pool", failure: nil, nil)
        switch settings.rexec.authentication {
        case .file:
            checkAccount(guest.name)
            return EstablishedIdentity()
        case .pam(let name):
            do throws(PAMError) {
                let transaction = try PAMTransaction(
                    service: name, user: guest.name, remoteHost: peer.address, remoteUser: nil, terminal: .rexec,
                    keeping: try surroundings())
                return try open(transaction)
            } catch {
                refuse(error.reason, "\(error)")
            }
        }
    }

    // MARK: Host trust

    private func establishTrust(
        entry: AccountEntry, peer: Endpoint, remoteUser: UserName, target: UserName, terms: Terms
    ) {
        let claim = HostTrust.Claim(
            peer: peer, remoteUser: remoteUser, localUser: target, isSuperuser: entry.uid == 0,
            permitNamesRoot: terms.namesRoot)
        let grantor: String
        let verdict: TrustVerdict
        switch settings.rsh.trust {
        case .rule:
            recordAuthentication("rule", failure: nil, terms.rule.name)
            return
        case .rhosts:
            grantor = "rhosts"
            guard settings.readsHostTrust else {
                recordAuthentication(grantor, failure: .untrusted, "securetcpip keeps trust files from being read")
                refuse(.untrusted, "securetcpip keeps trust files from being read")
            }
            verdict = trustFiles.verdict(
                claim, home: entry.home, credentials: credentials(of: entry, named: target))
        case .file(let name):
            grantor = "trust-file"
            verdict = trustFiles.verdict(claim, central: name.resolved(in: input.policyDirectory))
        }
        guard verdict.isTrusted else {
            recordAuthentication(grantor, failure: .untrusted, verdict.detail)
            refuse(.untrusted, verdict.detail)
        }
        recordAuthentication(grantor, failure: nil, verdict.detail)
    }

    /// Look-ups end while the session still has half its time, so that the record says what they found and not that
    /// the session was killed.
    private var trustFiles: TrustFiles {
        TrustFiles(names: settings.rsh.names, nameTimeout: Int64(settings.rsh.authenticationTimeout / 2))
    }

    // MARK: Without PAM

    /// Without PAM an expired account, and any but root while /etc/nologin exists, is refused.
    private func checkAccount(_ target: UserName) {
        do {
            let today = Clock.wallMilliseconds() / 86_400_000
            if let expiry = try Accounts.expiry(target), Int64(expiry) <= today {
                refuse(.accountRefused, "the account has expired")
            }
        } catch {
            refuse(.unavailable, "shadow: \(error)")
        }
        guard target != .root else { return }
        do {
            _ = try File.status("/etc/nologin")
            refuse(.accountRefused, "/etc/nologin exists")
        } catch {
            guard error.isNotFound else { refuse(.unavailable, "/etc/nologin: \(error)") }
        }
    }

    /// The kernel's login uid is set for every session, PAM or not, and stays with the command.
    private func takeLoginIdentity(_ entry: AccountEntry) {
        let identity = (try? LoginIdentity.set(auid: entry.uid)) ?? LoginIdentity.current()
        trail.identify(auid: identity.auid, ses: identity.ses)
    }
}

extension ByteText {
    /// A path: a relative one from a directory on.
    func resolved(in directory: String) -> ByteText {
        bytes.first == UInt8(ascii: "/") ? self : ByteText(Array(directory.utf8) + [UInt8(ascii: "/")] + bytes)
    }
}
