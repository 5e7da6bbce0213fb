// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CCrypt
public import Core
internal import Glibc
public import Linux

/// A crypt(5) hash of a password: yescrypt where we make it, any method that crypt(3) recommends where we are given it.
public struct PasswordHash: Sendable, Hashable {
    /// The most bytes of a hash's text (crypt.h, CRYPT_OUTPUT_SIZE without the NUL).
    public static let textLimit = 383

    /// The text, as it stands in a credentials file or /etc/shadow.
    public let text: ByteText

    /// Takes a hash's text; nil where it is no hash of a method that crypt(3) recommends.
    ///
    /// An empty text, a locked one (`!`, `*`) and DES are none.
    public init?(_ text: ByteText) {
        guard (1...Self.textLimit).contains(text.count), text.bytes.first == UInt8(ascii: "$"),
            text.bytes.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") })
        else { return nil }
        // SAFETY: the bytes end in a NUL and live for the call.
        guard unsafe portcullis_hash_is_sound(Self.terminated(text)) != 0 else { return nil }
        self.text = text
    }

    /// Hashes a password with yescrypt at its default cost and a salt of the kernel's.
    ///
    /// - Throws: `EINVAL` for an empty password: it would open to everybody who sends none.
    public init(hashing password: Secret) throws(SystemError) {
        guard !password.isEmpty else { throw SystemError(EINVAL, "crypt") }
        var setting = [CChar](repeating: 0, count: Int(PORTCULLIS_HASH_SIZE))
        // SAFETY: the array has more room than crypt_gensalt_rn is told.
        let code = unsafe portcullis_hash_setting(&setting)
        guard code == 0 else { throw SystemError(code, "crypt_gensalt") }
        text = ByteText(try Self.hash(password, setting: setting))
    }

    /// Whether a password has this hash. Costs one hash, whatever the answer.
    ///
    /// - Throws: where crypt(3) fails, which is not an answer.
    public func matches(_ password: Secret) throws(SystemError) -> Bool {
        let made = try Self.hash(password, setting: Self.terminated(text))
        // The comparison's time tells nothing of the place of the first difference.
        guard made.count == text.count else { return false }
        let difference = zip(made, text.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
        // An empty password never matches, even where somebody hashed one elsewhere.
        return difference == 0 && !password.isEmpty
    }

    /// Spends what `matches` would spend, for an account that has no hash.
    ///
    /// - Parameter like: a hash of the same table, so that the cost is the one that a real account would cause.
    /// - Returns: whether the work was done, which it is unless crypt(3) fails.
    @discardableResult
    public static func spend(on password: Secret, like hash: PasswordHash?) -> Bool {
        let setting = hash?.text ?? dummy
        return (try? Self.hash(password, setting: terminated(setting))) != nil
    }

    /// How many mappings of a hash's size were advised to be of huge pages, in this process: each hash of a memory-hard
    /// method makes one.
    package static var advisedMemories: UInt { portcullis_hash_memories() }

    /// A setting that no password was hashed with, of yescrypt's default cost in Debian 12.
    private static let dummy: ByteText = "$y$j9T$PortcullisNoAccount00.$"

    private static func hash(_ password: Secret, setting: [CChar]) throws(SystemError) -> [UInt8] {
        var hash = [CChar](repeating: 0, count: Int(PORTCULLIS_HASH_SIZE))
        // SAFETY: password and setting end in a NUL, and the array has the room that the shim fills at most.
        let code = unsafe password.withCString { unsafe portcullis_hash_make($0, setting, &hash) }
        guard code == 0 else { throw SystemError(code, "crypt") }
        return hash.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    }

    private static func terminated(_ text: ByteText) -> [CChar] {
        text.bytes.map { CChar(bitPattern: $0) } + [0]
    }
}
