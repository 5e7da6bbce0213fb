// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Audit
import Core
import Linux

/// The command's environment: built, never inherited.
extension RequestSession {
    /// Names that neither PAM nor a sandbox may set: what we build, and what changes what programs load or read.
    private static let reserved: Set<ByteText> = [
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "REMOTE_HOST", "REMOTE_USER", "PORTCULLIS_SESSION",
        "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4", "CDPATH", "GLOBIGNORE", "PERL5LIB", "PERL5OPT",
        "PYTHONPATH", "PYTHONSTARTUP", "RUBYLIB", "RUBYOPT", "NODE_OPTIONS", "GCONV_PATH", "NLSPATH", "HOSTALIASES",
        "RES_OPTIONS", "LOCALDOMAIN", "MALLOC_TRACE", "RESOLV_HOST_CONF", "TZDIR", "GETCONF_DIR", "NIS_PATH",
        "GLIBC_TUNABLES",
    ]

    /// Whether a variable may be added to what is built.
    static func mayAdd(_ name: ByteText) -> Bool {
        guard let first = name.bytes.first, !(48...57).contains(first) else { return false }
        let isName = name.bytes.allSatisfy { byte in
            switch byte {
            case 48...57, 65...90, 97...122, 95: true
            default: false
            }
        }
        return isName && !reserved.contains(name) && !name.bytes.starts(with: Array("LD_".utf8))
            && !name.bytes.starts(with: Array("BASH_FUNC_".utf8))
    }

    /// The variables, `NAME=VALUE`, in a fixed order.
    func environment(_ plan: LaunchPlan, _ identity: EstablishedIdentity) -> [[UInt8]] {
        let sandbox = plan.sandbox.sandbox
        var variables: [(ByteText, ByteText)] = [
            ("HOME", plan.entry.home), ("USER", targetText), ("LOGNAME", targetText), ("SHELL", plan.entry.shell),
            ("PATH", sandbox.searchPath), ("TERM", "dumb"),
            ("REMOTE_HOST", ByteText(origin.address?.description ?? "")),
        ]
        if let remoteUser { variables.append(("REMOTE_USER", remoteUser)) }
        variables.append(("PORTCULLIS_SESSION", ByteText(input.session.description)))
        if let temporary = temporaryDirectory { variables.append(("TMPDIR", ByteText(temporary))) }
        // bash believes that rshd runs it where its stdin is a socket, and then reads ~/.bashrc, which a command that can
        // write the home could have planted for the next one. Not in a second shell; and it sets this variable itself.
        if plan.program.bytes.suffix(5) == Array("/bash".utf8)[...] { variables.append(("SHLVL", "1")) }
        var added = Set(variables.map(\.0))
        // The sandbox is the site's word and comes before a module's.
        let fromPAM = identity.environment.compactMap { text -> (ByteText, ByteText)? in
            guard let equals = text.bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            return (ByteText(Array(text.bytes[..<equals])), ByteText(Array(text.bytes[equals...].dropFirst())))
        }
        for (name, value) in sandbox.environment.map({ ($0.name, $0.value) }) + fromPAM
        where Self.mayAdd(name) && !value.bytes.contains(0) && added.insert(name).inserted {
            variables.append((name, value))
        }
        return variables.map { $0.0.bytes + [UInt8(ascii: "=")] + $0.1.bytes }
    }

    // MARK: /tmp without namespaces

    /// Where this session's own /tmp is, when there is no mount for it.
    var temporaryDirectory: String? {
        guard !Process.isRoot, hasTemporaryDirectory else { return nil }
        let base = Process.environmentVariable("TMPDIR") ?? "/tmp"
        return "\(base)/portcullis-\(input.session)"
    }

    /// Makes it; nil where it cannot be made, and then the command has none.
    func makeTemporaryDirectory() -> String? {
        hasTemporaryDirectory = true
        guard let path = temporaryDirectory, (try? File.makeDirectory(path, mode: 0o700)) == true else {
            hasTemporaryDirectory = false
            return nil
        }
        return path
    }

    /// Removes it with what the command left in it: all of it belongs to this user.
    func removeTemporaryDirectory() {
        guard let path = temporaryDirectory else { return }
        Directory.removeTree(path)
    }
}
