// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core
import Linux
import Trust

/// The caller's .netrc: logins and passwords of machines.
public enum Netrc {
    /// What it gives for a host.
    public struct Credentials {
        /// The login name.
        public var login: ByteText?
        /// The password.
        public var password: ByteText?
    }

    /// Why it is not used, in our own words.
    public struct Refusal: Error, Sendable, CustomStringConvertible {
        /// The file.
        public let path: String
        /// The check that failed.
        public let reason: String

        /// `PATH is not used: REASON`.
        public var description: String { "\(ByteText(path).printable) is not used: \(reason)" }
    }

    /// Where the caller's file is: NETRC, or .netrc in HOME; nil where neither says, or the process has rights that
    /// its caller does not have.
    public static var path: String? {
        guard Process.userID == Process.effectiveUserID else { return nil }
        if let path = Process.environmentVariable("NETRC") { return path.isEmpty ? nil : path }
        guard let home = Process.environmentVariable("HOME"), !home.isEmpty else { return nil }
        return home + "/.netrc"
    }

    /// Looks a host up in the caller's file.
    ///
    /// The file must be a regular one, the caller's own, with no right of group or others, all checked on the open
    /// descriptor. A link is followed: where it leads is checked.
    ///
    /// - Parameters:
    ///   - host: the host as the person named it.
    ///   - login: the login that is wanted, if one is.
    ///   - path: the file.
    ///   - localDomain: the caller's own domain, which a machine of the file may leave out.
    /// - Returns: nil where there is no file, or nothing in it for the host.
    public static func credentials(
        host: ByteText, login: ByteText?, path: String, localDomain: ByteText?
    ) throws(Refusal) -> Credentials? {
        let refusal = { (reason: String) in Refusal(path: path, reason: reason) }
        let file: Descriptor
        do {
            file = try File.open(path, [.reading, .nonBlocking])
        } catch {
            if error.isNotFound { return nil }
            throw refusal(error.text)
        }
        guard let status = try? File.status(file) else { throw refusal("it cannot be looked at") }
        guard status.kind == .regular else { throw refusal("it is no regular file") }
        guard status.uid == Process.userID else { throw refusal("it belongs to somebody else") }
        guard status.mode & 0o077 == 0 else { throw refusal("group or others have rights on it; try chmod 600") }
        guard status.size <= NetrcFile.sizeLimit else { throw refusal("it is too long") }
        // In one piece, of which nothing is left: the others' passwords stand there too.
        guard var bytes = try? file.read(NetrcFile.sizeLimit + 1), bytes.count == Int(status.size) else {
            throw refusal("it cannot be read, or somebody writes it now")
        }
        // Overwritten as far as the compiler leaves it in.
        defer { for place in bytes.indices { bytes[place] = 0 } }
        do {
            guard let entry = try NetrcFile(bytes).entry(host: host, login: login, localDomain: localDomain) else {
                return nil
            }
            return Credentials(login: entry.login, password: entry.password)
        } catch {
            throw refusal(error.description)
        }
    }
}
