// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// An entry of the account database, as name service gives it.
public struct AccountEntry: Sendable, Hashable {
    /// The canonical name, which may differ from the one asked for.
    public var name: ByteText
    /// The user id.
    public var uid: UInt32
    /// The primary group.
    public var gid: UInt32
    /// The home directory.
    public var home: ByteText
    /// The shell; /bin/sh where the entry has none (passwd(5)).
    public var shell: ByteText

    /// An entry.
    public init(name: ByteText, uid: UInt32, gid: UInt32, home: ByteText, shell: ByteText) {
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.shell = shell
    }
}

/// Name service: accounts and groups.
public enum Accounts {
    /// The account of a name; nil where there is none.
    public static func named(_ name: UserName) throws(SystemError) -> AccountEntry? {
        // SAFETY: the name's string is NUL-terminated for the call; see `entry`.
        try unsafe entry { record, buffer, size, result in
            unsafe getpwnam_r(name.description, record, buffer, size, result)
        }
    }

    /// The account of a user id; nil where there is none.
    public static func numbered(_ uid: UInt32) throws(SystemError) -> AccountEntry? {
        // SAFETY: see `entry`.
        try unsafe entry { record, buffer, size, result in
            unsafe getpwuid_r(uid, record, buffer, size, result)
        }
    }

    private typealias Lookup = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
        UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    /// The most room that an entry is given: no real one comes near.
    private static let entryLimit = 1 << 20

    private static func entry(_ lookup: Lookup) throws(SystemError) -> AccountEntry? {
        var size = 4_096
        while true {
            var code: Int32 = 0
            var found: AccountEntry?
            // SAFETY: the buffer has the size that the call is told, and the entry is copied out of it before it ends.
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                guard let base = buffer.baseAddress else { return }
                var record = unsafe passwd()
                var result: UnsafeMutablePointer<passwd>?
                code = unsafe lookup(&record, base, size, &result)
                if unsafe result != nil { found = unsafe AccountEntry(record) }
            }
            switch code {
            case 0, ENOENT, ESRCH:
                return found
            case ERANGE where size < entryLimit:
                size *= 4
            case EINTR:
                continue
            default:
                throw SystemError(code, "getpwnam_r")
            }
        }
    }

    /// The ids of an account's groups, the primary one included; nil where there are more than the limit.
    public static func groups(of name: UserName, primary: UInt32) -> [UInt32]? {
        var count = Int32(64)
        while count <= Int32(Account.groupLimit) {
            var list = [gid_t](repeating: 0, count: Int(count))
            var wanted = count
            // SAFETY: the list has as many elements as the count says.
            if unsafe getgrouplist(name.description, primary, &list, &wanted) >= 0 {
                return Array(list.prefix(Int(max(wanted, 0))))
            }
            count = max(wanted, count * 2)
        }
        return nil
    }

    /// The name of a group; nil where it has none.
    public static func groupName(_ gid: UInt32) throws(SystemError) -> ByteText? {
        var size = 4_096
        while size <= entryLimit {
            var code: Int32 = 0
            var name: ByteText?
            // SAFETY: the buffer has the size that the call is told, and the name is copied out of it before it ends.
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                guard let base = buffer.baseAddress else { return }
                var record = unsafe group()
                var result: UnsafeMutablePointer<group>?
                code = unsafe getgrgid_r(gid, &record, base, size, &result)
                if unsafe result != nil { name = unsafe bytes(record.gr_name) }
            }
            switch code {
            case 0, ENOENT, ESRCH: return name
            case ERANGE: size *= 4
            case EINTR: continue
            default: throw SystemError(code, "getgrgid_r")
            }
        }
        throw SystemError(ERANGE, "getgrgid_r")
    }

    /// The shells of /etc/shells; empty where it cannot be read.
    public static func shells() -> Set<ByteText> {
        guard let file = try? File.open("/etc/shells", [.reading]),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return [] }
        let lines = bytes.split(separator: UInt8(ascii: "\n")).map { ByteText(Array($0)) }
        return Set(lines.filter { $0.bytes.first == UInt8(ascii: "/") })
    }

    /// The first uid of accounts of people, below which all are the system's (login.defs, UID_MIN).
    public static let firstPersonalUID: UInt32 = 1_000

    /// Whether an account is the system's: a uid below 1000, or a shell that /etc/shells does not list.
    public static func isSystem(_ entry: AccountEntry) -> Bool {
        entry.uid < firstPersonalUID || !shells().contains(entry.shell)
    }

    /// Days since 1970 on which an account expires; nil where it never does, or there is no shadow entry, or this is not
    /// root, who alone can read it.
    public static func expiry(_ name: UserName) throws(SystemError) -> Int? {
        errno = 0
        // SAFETY: getspnam's entry lives until the next call, and only a number is read from it.
        guard let entry = unsafe getspnam(name.description) else {
            guard errno == 0 || errno == ENOENT || geteuid() != 0 else { throw .last("getspnam") }
            return nil
        }
        // SAFETY: as above.
        let days = unsafe entry.pointee.sp_expire
        return days >= 0 ? days : nil
    }

    fileprivate static func bytes(_ text: UnsafeMutablePointer<CChar>?) -> ByteText {
        // SAFETY: the pointer is only looked at for nil.
        guard let text = unsafe text else { return ByteText([]) }
        // SAFETY: name service's strings are NUL-terminated.
        return unsafe ByteText((0..<strlen(text)).map { unsafe UInt8(bitPattern: text[Int($0)]) })
    }
}

extension AccountEntry {
    fileprivate init(_ record: passwd) {
        // SAFETY: the strings lie in the buffer that the caller holds, and are copied here.
        unsafe self.init(
            name: Accounts.bytes(record.pw_name), uid: record.pw_uid, gid: record.pw_gid,
            home: Accounts.bytes(record.pw_dir), shell: Accounts.bytes(record.pw_shell))
        if shell.isEmpty { shell = "/bin/sh" }
    }
}
