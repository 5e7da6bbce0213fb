// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// Opening trust files as docs/host-trust.md asks; their grammar is module Trust's.
///
/// Whoever decides or reports by such a file opens it here, so that all of them judge alike.
public enum TrustFileOpening {
    /// What was found.
    public enum Found: Sendable, Hashable {
        /// There is no such file.
        case absent
        /// It failed a check, or could not be read; in our own words, safe on a terminal.
        case rejected(String)
        /// Whoever owns it keeps it from being read for now; as good as rejected to who decides by it.
        case leased(String)
        /// Its bytes, at most `SecureOpen.trustFileLimit`.
        case bytes([UInt8])
    }

    /// The file that speaks for every account of the host.
    public static let hostsEquiv: ByteText = "/etc/hosts.equiv"

    /// The most bytes of a path's last component (NAME_MAX).
    private static let nameLimit = 255
    /// How often a file that changes while it is read, or is leased, is looked at.
    private static let attempts = 3
    /// How many milliseconds the holder of a lease has to let go of it each time: the open has told it to.
    private static let leasePause = 20

    /// Reads a file of the host's: root's (or, as a plain user, that user's), below a directory whose way is theirs.
    ///
    /// hosts.equiv is root's, whoever runs the gateway.
    ///
    /// - Parameters:
    ///   - path: absolute.
    ///   - limit: the most bytes.
    public static func host(_ path: ByteText, limit: Int = SecureOpen.trustFileLimit) -> Found {
        let owners = path == hostsEquiv ? [0] : SecureOpen.trusted()
        guard let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) else { return .rejected("not an absolute path") }
        let name = ByteText(Array(path.bytes[slash...].dropFirst()))
        let directory = slash == 0 ? "/" : ByteText(Array(path.bytes[..<slash]))
        guard (1...nameLimit).contains(name.count) else { return .rejected("not a usable path") }
        return found {
            let opened = try SecureOpen.directory(directory, trusting: owners)
            let file = try SecureOpen.file(
                named: name, in: opened.descriptor, trusting: owners, single: true, limit: limit)
            return try SecureOpen.readUnchanged(file, in: opened, limit: limit)
        }
    }

    /// Reads an account's own file, with that account's effective ids, so that it decides what can be read.
    ///
    /// TRUST: real and saved ids stay the caller's, so that the account can neither signal nor trace it meanwhile.
    ///
    /// - Parameters:
    ///   - name: of the file in the home directory.
    ///   - home: the home directory, absolute.
    ///   - credentials: the account's ids and groups.
    public static func personal(named name: ByteText, home: ByteText, credentials: Credentials) -> Found {
        found {
            try credentials.borrowed {
                let directory = try SecureOpen.home(home, of: credentials.uid)
                let file = try SecureOpen.trustFile(named: name, inHome: directory.descriptor, of: credentials.uid)
                return try SecureOpen.readUnchanged(file, in: directory, limit: SecureOpen.trustFileLimit)
            }
        }
    }

    /// Takes what was read; any failure but absence rejects the file.
    private static func found(_ read: () throws -> [UInt8]) -> Found {
        for left in (0..<attempts).reversed() {
            do {
                return .bytes(try read())
            } catch let refusal as SecureOpen.Refusal {
                if refusal.isAbsence { return .absent }
                // An editor has just put a new file in the old one's place: its vetoes must not be passed over for that.
                if refusal.reason == .changed, left > 0 { continue }
                if refusal.reason == .leased {
                    guard left > 0 else { return .leased(refusal.description) }
                    Clock.sleep(milliseconds: leasePause)
                    continue
                }
                return .rejected(refusal.description)
            } catch {
                return .rejected("\(error)")
            }
        }
        return .rejected("was changed while it was read")
    }
}

extension SecureOpen.Refusal {
    /// Whether there is simply no such file.
    fileprivate var isAbsence: Bool {
        if case .failed(let code) = reason { SystemError(code, "open").isNotFound } else { false }
    }
}
