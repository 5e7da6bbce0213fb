// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// The host whose state is judged: its files and accounts.
struct LocalHost {
    /// What stands before each path: nothing, but in tests.
    let root: String
    /// The accounts that name service lists.
    let accounts: [AccountEntry]
    /// Root's uid: 0, but in tests.
    let superuser: UInt32

    /// A host whose files lie below a directory.
    init(root: String, accounts: [AccountEntry], superuser: UInt32 = 0) {
        self.root = root
        self.accounts = accounts
        self.superuser = superuser
    }

    /// This host.
    static func own() throws -> LocalHost {
        LocalHost(root: "", accounts: try Accounts.all())
    }

    /// A path of the host's as this process names it.
    func path(_ path: String) -> String { root + path }

    // MARK: Files of the host's

    /// What reading a file gave.
    enum Reading {
        case absent
        case bytes([UInt8])
        /// It cannot be read; why.
        case unreadable(String)

        /// The bytes, where there are any.
        var bytes: [UInt8]? {
            if case .bytes(let bytes) = self { bytes } else { nil }
        }
    }

    /// The most bytes of a file of settings.
    static let settingsLimit = 4 << 20

    /// Reads a whole file of root's directories.
    func read(_ path: String, limit: Int = settingsLimit) -> Reading {
        do throws(SystemError) {
            let file = try File.open(self.path(path), [.reading, .nonBlocking])
            guard try File.status(file).kind == .regular || path.hasPrefix("/proc/") else {
                return .unreadable("\(path) is no regular file")
            }
            guard let bytes = try file.readAll(limit: limit) else {
                return .unreadable("\(path) has more than \(limit) bytes")
            }
            return .bytes(bytes)
        } catch {
            return error.isNotFound ? .absent : .unreadable("\(path): \(error.text)")
        }
    }

    /// What a path is, links followed; nil where there is nothing.
    func status(_ path: String) -> FileStatus? {
        try? File.status(self.path(path))
    }

    /// Whether a path exists, be it a link that leads nowhere.
    func exists(_ path: String) -> Bool {
        (try? File.linkStatus(self.path(path))) != nil
    }

    /// The names in a directory; none where it is not there or cannot be read.
    func names(_ path: String) -> [String] {
        ((try? Directory.names(self.path(path))) ?? []).compactMap(\.text)
    }

    /// A path with its links resolved.
    func resolved(_ path: String) -> String? {
        guard let found = File.resolved(Array(self.path(path).utf8)), let text = ByteText(found).text else {
            return nil
        }
        return text.hasPrefix(root) ? String(text.dropFirst(root.count)) : text
    }

    // MARK: Files of accounts

    /// What was found in a home.
    enum Finding: Hashable {
        case absent
        case present(FileStatus)
        /// It cannot be looked at; why.
        case unknown(String)
    }

    /// Looks for files in an account's home with that account's own rights, so that no link of its leads root anywhere.
    func look(for names: [String], of account: AccountEntry) -> [Finding] {
        guard let home = account.home.text, home.hasPrefix("/") else { return names.map { _ in .absent } }
        let look = {
            names.map { name -> Finding in
                do throws(SystemError) {
                    return .present(try File.linkStatus("\(path(home))/\(name)"))
                } catch {
                    return error.isNotFound ? .absent : .unknown(error.text)
                }
            }
        }
        // Not root: with what rights we have; the kernel says where they end.
        guard Linux.Process.isRoot else { return look() }
        let seen = try? Self.credentials(of: account).borrowed(look)
        guard let seen else { return names.map { _ in .unknown("the account's rights cannot be taken on") } }
        // What the account itself may not see is there all the same. A look opens nothing and follows no last link.
        return zip(seen, look()).map { own, all in if case .unknown = own { all } else { own } }
    }

    /// An account's ids and groups.
    static func credentials(of account: AccountEntry) -> Credentials {
        // A plain user's groups can only be kept.
        guard Linux.Process.isRoot else { return Credentials(uid: account.uid, gid: account.gid, groups: []) }
        let name = UserName(bytes: account.name.bytes)
        let groups = name.flatMap { Accounts.groups(of: $0, primary: account.gid) } ?? [account.gid]
        return Credentials(uid: account.uid, gid: account.gid, groups: Set(groups).sorted())
    }
}
