// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A request of which only some parts are known: what an administrator asks about. Parts that are nil may be anything.
public struct PartialRequest: Sendable, Hashable {
    /// The services that are asked about.
    public var services: [Service]
    /// The peer's address.
    public var source: IPAddress?
    /// The remote user that an RSH client claims; says nothing of REXEC, which carries none.
    public var remoteUser: UserName?
    /// The account to run as.
    public var target: Account?
    /// What is to be run.
    public var command: RequestedCommand?
    /// When.
    public var time: LocalTime?

    /// A request of which nothing is known but its services.
    public init(services: [Service] = Service.allCases) {
        self.services = services
    }

    /// A request without its command.
    public init(withoutCommand request: Request) {
        services = [request.service]
        source = request.source
        remoteUser = request.claimedUser
        target = request.target
        time = request.time
    }
}

extension Rule {
    /// What the rule still asks of a request's unknown parts; nil where a known part does not match.
    ///
    /// The result matches some parts exactly where the rule matches the whole request. A clause that the known parts
    /// satisfy is `any` in it; `same` with a known account has become the one remote user that it means.
    func remainder(of question: PartialRequest, service: Service) -> Rule? {
        guard services.contains(service) else { return nil }
        var rest = self
        rest.services = .only(service)
        if let source = question.source {
            guard sources?.contains(source) ?? true else { return nil }
            rest.sources = effect == .permit ? Sources(isAny: true) : nil
        }
        if let time = question.time {
            guard hours?.contains(time) ?? true else { return nil }
            rest.hours = nil
        }
        let user = service == .rsh ? question.remoteUser : nil
        if service == .rexec {
            guard remoteUsers?.contains(nil) ?? true else { return nil }
            rest.remoteUsers = effect == .permit ? RemoteUsers(isAny: true) : nil
        } else if let user {
            guard remoteUsers?.contains(user) ?? true else { return nil }
            rest.remoteUsers = RemoteUsers(literal: [user])
        }
        if let command = question.command {
            guard commands.map({ isMatch($0, command) }) ?? true else { return nil }
            rest.commands = effect == .permit ? Commands(isAny: true) : nil
        }
        guard let target = question.target else { return rest }
        rest.targets = effect == .permit ? Targets(isAny: true) : nil
        guard !isMatch(targets, target, remoteUser: user) else { return rest }
        // What is left is `same`, which means the one remote user of the account's name.
        guard service == .rsh, user == nil, isMatch(targets, target, remoteUser: target.name),
            remoteUsers?.contains(target.name) ?? true
        else { return nil }
        rest.remoteUsers = RemoteUsers(literal: [target.name])
        return rest
    }

    private func isMatch(_ commands: Commands, _ command: RequestedCommand) -> Bool {
        switch effect {
        case .permit: commands.execution(of: command) != nil
        case .forbid: commands.forbids(command)
        }
    }

    private func isMatch(_ targets: Targets?, _ account: Account, remoteUser: UserName?) -> Bool {
        guard let targets else { return true }
        switch effect {
        case .permit: return targets.permits(account, remoteUser: remoteUser)
        case .forbid: return targets.forbids(account, remoteUser: remoteUser)
        }
    }

    /// Whether a permit's remainder matches some request, as far as that is plain without a search.
    var isPlainlyPossible: Bool {
        guard let targets else { return true }
        return targets.isAny || !targets.literal.names.isEmpty || !targets.groups.isEmpty
            || !targets.pools.isEmpty || (targets.isSame && services == .only(.rsh) && (remoteUsers?.isAny ?? true))
    }
}
