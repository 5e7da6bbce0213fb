// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy
import PolicyLanguage

/// The policy by which a host's state is judged.
struct HostPolicy {
    /// Its file.
    let path: String
    /// Its settings; those of an empty policy where there is no valid one.
    let settings: Settings
    /// Its digest; nil where there is no valid one.
    let revision: Revision?
    /// How many permits run their commands unconfined.
    let unconfinedPermits: Int
    /// Why there is no valid policy; nil where there is one.
    let problem: String?

    /// Settings of a valid policy.
    init(path: String, settings: Settings, revision: Revision = .none, unconfinedPermits: Int = 0) {
        self.path = path
        self.settings = settings
        self.revision = revision
        self.unconfinedPermits = unconfinedPermits
        problem = nil
    }

    /// Loads a policy.
    init(_ path: String) {
        do {
            let local = try LocalPolicy(path)
            if let policy = local.loaded.policy {
                self.init(
                    path: path, settings: policy.settings, revision: local.revision,
                    unconfinedPermits: Self.unconfinedPermits(of: policy))
            } else {
                let errors = Shown.count(local.loaded.errorCount, "error")
                self.init(path: path, problem: "\(path) has \(errors), see portcullis check")
            }
        } catch let failure as Failure {
            self.init(path: path, problem: failure.description)
        } catch {
            self.init(path: path, problem: "\(path): \(error)")
        }
    }

    /// No valid policy, for this reason.
    private init(path: String, problem: String) {
        self.path = path
        settings = Settings()
        revision = nil
        unconfinedPermits = 0
        self.problem = problem
    }

    private static func unconfinedPermits(of policy: Policy) -> Int {
        policy.rules.filter { rule in
            rule.effect == .permit && policy.sandboxes.indices.contains(rule.sandbox)
                && !policy.sandboxes[rule.sandbox].isConfined
        }.count
    }

    /// The central trust file, absolute; nil where the policy reads none.
    var centralFile: ByteText? {
        guard case .file(let name) = settings.rsh.trust else { return nil }
        if name.bytes.first == UInt8(ascii: "/") { return name }
        let directory = LocalPolicyFiles.directory(of: File.absolute(path))
        return ByteText(Array(directory.utf8) + [UInt8(ascii: "/")] + name.bytes)
    }
}
