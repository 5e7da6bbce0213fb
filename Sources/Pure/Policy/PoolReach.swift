// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// Which accounts of guest pools rsh reaches by their own names.
///
/// rsh asks for no password where hosts are trusted, and an account that is in use is given to no guest: whoever may ask for
/// a pool's account by rsh can keep guests out. REXEC is no such way: it asks for a password, which an account of a pool
/// need not have.
extension Policy {
    /// The accounts of the pools, with their pools, that no forbid keeps from rsh whoever asks and whatever for.
    ///
    /// Such a forbid stops no guest: guests come by REXEC. Empty where there is no rsh.
    public var pooledAccountsOpenToRSH: [UserName: String] {
        guard settings.serves(.rsh) else { return [:] }
        var open: [UserName: String] = [:]
        for pool in settings.pools { for name in pool.accounts { open[name] = pool.name } }
        for rule in rules where rule.effect == .forbid && rule.isUnconditional && rule.services.contains(.rsh) {
            guard let targets = rule.targets, !targets.isAny else { return [:] }
            for name in targets.names { open[name] = nil }
        }
        return open
    }
}

extension Rule {
    /// Whether it asks of nothing but the service and the account.
    fileprivate var isUnconditional: Bool {
        (sources?.isAny ?? true) && (remoteUsers?.isAny ?? true) && (commands?.isAny ?? true) && hours == nil
    }
}
