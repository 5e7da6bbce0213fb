// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What the items are judged by, read once.
struct ComplianceEvidence {
    let host: LocalHost
    let policy: HostPolicy
    let packages: DebianPackages
    let activation: Activation
    let waiting: WaitingDaemons
    let login: LoginFiles
    let sshd: SSHDSettings
    let auditd: AuditdSettings
    let sudo: SudoSettings

    init(host: LocalHost, policy: HostPolicy, ownDirectory: String? = WaitingDaemons.ownDirectory) {
        self.host = host
        self.policy = policy
        packages = DebianPackages(host)
        activation = Activation(host)
        waiting = WaitingDaemons(host, settings: policy.settings, ownDirectory: ownDirectory)
        login = LoginFiles(host, others: [".forward"])
        sshd = SSHDSettings(host)
        auditd = AuditdSettings(host)
        sudo = SudoSettings(host)
    }

    /// Which of some packages are installed; nil where dpkg's database cannot be read.
    func installed(_ names: [String]) -> [String]? {
        packages.installed.map { installed in names.filter(installed.contains) }
    }

    /// The programs of some tools that can be run, and are no others' in their place.
    func programs(_ tools: [String]) -> [RemoteProgram] {
        RemoteTool.all.filter { tools.contains($0.name) }
            .flatMap { RemoteProgram.find($0, on: host, packages: packages) }
            .filter { !$0.isDisabled && $0.provider != .openSSH }
    }

    /// The controls of the gateway that stand in for the absence of a service; nil where there are none to speak of.
    func control(for service: Service) -> String? {
        let settings = policy.settings
        guard policy.problem == nil, settings.audit.onFailure == .refuse else { return nil }
        if service == .rsh, settings.readsHostTrust { return nil }
        let places = settings[service].listeners
        let reach =
            places.allSatisfy(\.address.isLoopback)
            ? "loopback alone" : places.map(\.description).joined(separator: ", ") + " in clear text"
        let identity: String =
            switch (service, settings.rsh.trust) {
            case (.rexec, _): "a password is verified"
            case (.rsh, .rule): "no trust file is read"
            case (.rsh, _): "one central trust file of root's is read, no .rhosts"
            }
        let unconfined = policy.unconfinedPermits
        let confinement =
            unconfined == 0
            ? "commands are confined" : "commands are confined but for \(Shown.count(unconfined, "permit"))"
        let revision = policy.revision.map { Shown.short($0) } ?? "none"
        return "Portcullis serves \(service.name) in its place: nothing runs without a permit of policy \(revision); "
            + "\(identity); \(confinement); no record, no command; reached at \(reach)"
    }

    /// Whether a socket at a service's port is somebody's else.
    func strangers(at tool: String) -> [WaitingDaemons.Entry] {
        RemoteTool.all.filter { $0.name == tool }.flatMap(waiting.entries).filter { !$0.isGateway }
    }
}
