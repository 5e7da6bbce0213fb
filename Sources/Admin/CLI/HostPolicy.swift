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
    /// Why there is no valid policy; nil where there is one.
    let problem: String?

    /// Settings of a valid policy.
    init(path: String, settings: Settings, revision: Revision = .none) {
        self.path = path
        self.settings = settings
        self.revision = revision
        problem = nil
    }

    /// Loads a policy.
    init(_ path: String) {
        self.path = path
        do {
            let local = try LocalPolicy(path)
            settings = local.loaded.policy?.settings ?? Settings()
            revision = local.loaded.policy == nil ? nil : local.revision
            let errors = Shown.count(local.loaded.errorCount, "error")
            problem = local.loaded.policy == nil ? "\(path) has \(errors), see portcullis check" : nil
        } catch let failure as Failure {
            settings = Settings()
            revision = nil
            problem = failure.description
        } catch {
            settings = Settings()
            revision = nil
            problem = "\(path): \(error)"
        }
    }

    /// The central trust file, absolute; nil where the policy reads none.
    var centralFile: ByteText? {
        guard case .file(let name) = settings.rsh.trust else { return nil }
        if name.bytes.first == UInt8(ascii: "/") { return name }
        let directory = LocalPolicyFiles.directory(of: File.absolute(path))
        return ByteText(Array(directory.utf8) + [UInt8(ascii: "/")] + name.bytes)
    }
}
