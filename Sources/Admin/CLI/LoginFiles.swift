// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The files in homes and in /etc by which old programs trust or send passwords.
struct LoginFiles {
    /// A file that exists.
    struct Entry {
        var path: String
        /// Its name, or its path for a file of the host's.
        var kind: String
        /// Whose it is; empty for a file of the host's.
        var accounts: [String]
        /// What gives it back; nil for a file that nothing gives back.
        var exception: SecureTCPIP.Exception?
    }

    /// The names that are looked for in a home, and what gives each back.
    private static let personal: [(name: String, exception: SecureTCPIP.Exception?)] = [
        (".rhosts", .rhosts), (".netrc", .netrc), (".shosts", nil),
    ]
    /// Those of the host.
    private static let system: [(path: String, exception: SecureTCPIP.Exception?)] = [
        ("/etc/hosts.equiv", .rhosts), ("/etc/shosts.equiv", nil), ("/etc/ssh/shosts.equiv", nil),
    ]

    /// The files, the host's first.
    let files: [Entry]
    /// Homes that could not be looked at.
    let notChecked: [String]

    /// Looks for them.
    ///
    /// - Parameter others: further names to look for in homes, which nothing gives back.
    init(_ host: LocalHost, others: [String] = []) {
        let personal = Self.personal + others.map { ($0, nil) }
        var files = Self.system.filter { host.exists($0.path) }
            .map { Entry(path: $0.path, kind: $0.path, accounts: [], exception: $0.exception) }
        var places: [String: Int] = [:]
        var notChecked: [String] = []
        for account in host.accounts {
            let name = account.name.printable
            var unknown: String?
            for (wanted, finding) in zip(personal, host.look(for: personal.map(\.name), of: account)) {
                let path = "\(account.home.printable)/\(wanted.name)"
                switch finding {
                case .absent: continue
                case .unknown(let text): unknown = unknown ?? "\(account.home.printable) (\(name)): \(text)"
                case .present:
                    if let place = places[path] {
                        files[place].accounts.append(name)
                        continue
                    }
                    places[path] = files.count
                    files.append(
                        Entry(path: path, kind: wanted.name, accounts: [name], exception: wanted.exception))
                }
            }
            if let unknown { notChecked.append(unknown) }
        }
        self.files = files
        self.notChecked = notChecked
    }
}
