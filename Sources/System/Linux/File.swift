// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Which file it is, by whatever path it was reached.
public struct FileIdentity: Sendable, Hashable {
    /// The device.
    public var device: UInt64
    /// The number on the device.
    public var inode: UInt64
}

/// What a file is, from its open descriptor.
public struct FileStatus: Sendable, Hashable {
    /// What kind of file.
    public enum Kind: Sendable, Hashable {
        case regular
        case directory
        case link
        case fifo
        case other
    }

    /// The kind.
    public var kind: Kind
    /// The permission bits, 0 to 0o7777.
    public var mode: UInt32
    /// The owner.
    public var uid: UInt32
    /// The group.
    public var gid: UInt32
    /// The number of names.
    public var links: UInt64
    /// Bytes.
    public var size: Int64
    /// The device.
    public var device: UInt64
    /// The number on the device.
    public var inode: UInt64

    /// Which file it is.
    public var identity: FileIdentity { FileIdentity(device: device, inode: inode) }

    init(_ raw: stat) {
        switch raw.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        case S_IFLNK: kind = .link
        case S_IFIFO: kind = .fifo
        default: kind = .other
        }
        mode = raw.st_mode & 0o7777
        uid = raw.st_uid
        gid = raw.st_gid
        links = UInt64(raw.st_nlink)
        size = Int64(raw.st_size)
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
    }
}

/// Opening files, and what is done by name.
public enum File {
    /// How a file is opened; always close-on-exec.
    public struct Options: OptionSet, Sendable {
        /// The open(2) flags.
        public let rawValue: Int32

        /// Takes open(2) flags.
        public init(rawValue: Int32) {
            self.rawValue = rawValue
        }

        /// Read alone.
        public static let reading = Options([])
        /// Write alone.
        public static let writing = Options(rawValue: O_WRONLY)
        /// Every write goes to the end.
        public static let appending = Options(rawValue: O_APPEND)
        /// Make it where it does not exist.
        public static let creating = Options(rawValue: O_CREAT)
        /// Fail where it exists.
        public static let exclusive = Options(rawValue: O_EXCL)
        /// Empty it.
        public static let truncating = Options(rawValue: O_TRUNC)
        /// Follow no link in the last component.
        public static let noFollow = Options(rawValue: O_NOFOLLOW)
        /// Do not wait for a FIFO's other side or the like.
        public static let nonBlocking = Options(rawValue: O_NONBLOCK)
        /// Do not take a terminal for this process's own.
        public static let noTerminal = Options(rawValue: O_NOCTTY)
        /// Only a directory.
        public static let directory = Options(rawValue: O_DIRECTORY)
    }

    /// Opens a path, below a directory where one is given.
    public static func open(
        _ path: [UInt8], below directory: Descriptor? = nil, _ options: Options, mode: UInt32 = 0o600
    ) throws(SystemError) -> Descriptor {
        guard !path.isEmpty, !path.contains(0) else { throw SystemError(ENOENT, "open") }
        var made: Int32 = -1
        let name = path + [0]
        // SAFETY: the string is NUL-terminated, and the shim writes one int.
        let code = unsafe name.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { text in
                guard let base = text.baseAddress else { return EFAULT }
                return unsafe portcullis_file_open(
                    directory?.number ?? AT_FDCWD, base, options.rawValue, mode_t(mode), &made)
            }
        }
        try check(code, "open")
        return Descriptor(owning: made)
    }

    /// Opens a path.
    public static func open(
        _ path: String, below directory: Descriptor? = nil, _ options: Options, mode: UInt32 = 0o600
    ) throws(SystemError) -> Descriptor {
        try open(Array(path.utf8), below: directory, options, mode: mode)
    }

    /// Opens a regular file for reading, where another account makes names: its last name is followed nowhere, and nothing
    /// else that it may be is read from.
    public static func openRegular(_ path: String) throws(SystemError) -> Descriptor {
        let file = try open(path, [.reading, .noFollow, .nonBlocking])
        guard try status(file).kind == .regular else { throw SystemError(EINVAL, "not a regular file") }
        return file
    }

    /// What an open file is.
    public static func status(_ descriptor: Descriptor) throws(SystemError) -> FileStatus {
        var raw = stat()
        // SAFETY: fstat writes one structure.
        guard unsafe fstat(descriptor.number, &raw) == 0 else { throw .last("fstat") }
        return FileStatus(raw)
    }

    /// What a path names, links followed.
    public static func status(_ path: String) throws(SystemError) -> FileStatus {
        var raw = stat()
        // SAFETY: the string is NUL-terminated for the call, and stat writes one structure.
        guard unsafe stat(path, &raw) == 0 else { throw .last("stat") }
        return FileStatus(raw)
    }

    /// What a path names, a last link not followed.
    public static func linkStatus(_ path: String) throws(SystemError) -> FileStatus {
        var raw = stat()
        // SAFETY: the string is NUL-terminated for the call, and lstat writes one structure.
        guard unsafe lstat(path, &raw) == 0 else { throw .last("lstat") }
        return FileStatus(raw)
    }

    /// Where a link leads, as it is written.
    public static func linkTarget(_ path: String) throws(SystemError) -> ByteText {
        var buffer = [CChar](repeating: 0, count: SecureOpen.pathLimit + 1)
        // SAFETY: the string is NUL-terminated, and the kernel writes no more than `count` bytes.
        let length = unsafe readlink(path, &buffer, buffer.count)
        guard length >= 0 else { throw .last("readlink") }
        return ByteText(buffer.prefix(length).map { UInt8(bitPattern: $0) })
    }

    /// What lies at a path of any bytes, with the last link followed or not.
    public static func status(_ path: [UInt8], followingLast: Bool) throws(SystemError) -> FileStatus {
        guard !path.contains(0) else { throw SystemError(ENOENT, "stat") }
        var raw = stat()
        let name = path.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the string is NUL-terminated, and fstatat writes one structure.
        guard unsafe fstatat(AT_FDCWD, name, &raw, followingLast ? 0 : AT_SYMLINK_NOFOLLOW) == 0 else {
            throw .last("stat")
        }
        return FileStatus(raw)
    }

    /// Whether an existing path can be executed by this process's effective ids.
    public static func isExecutable(_ path: [UInt8]) -> Bool {
        guard let text = ByteText(path).text else { return false }
        // SAFETY: the string is NUL-terminated for the call.
        return unsafe faccessat(AT_FDCWD, text, X_OK, AT_EACCESS) == 0
    }

    /// The path with every link resolved.
    public static func resolved(_ path: [UInt8]) -> [UInt8]? {
        guard !path.contains(0) else { return nil }
        let name = path + [0]
        // SAFETY: the string is NUL-terminated; realpath's result is copied and freed.
        return unsafe name.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { text in
                guard let base = text.baseAddress, let found = unsafe realpath(base, nil) else { return nil }
                defer { unsafe free(found) }
                return unsafe (0..<strlen(found)).map { unsafe UInt8(bitPattern: found[Int($0)]) }
            }
        }
    }

    /// A path from the root: a relative one from the working directory on.
    public static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = resolved(Array(".".utf8)), let base = ByteText(here).text else {
            return path
        }
        return base == "/" ? "/" + path : "\(base)/\(path)"
    }

    /// Makes a directory; true where it was not there.
    @discardableResult
    public static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) -> Bool {
        // SAFETY: the string is NUL-terminated for the call.
        if unsafe mkdir(path, mode_t(mode)) == 0 { return true }
        guard errno == EEXIST else { throw .last("mkdir") }
        return false
    }

    /// Makes a directory below an open one; true where it was not there.
    @discardableResult
    public static func makeDirectory(
        _ name: String, below directory: Descriptor, mode: UInt32
    ) throws(SystemError) -> Bool {
        // SAFETY: the string is NUL-terminated for the call.
        if unsafe mkdirat(directory.number, name, mode_t(mode)) == 0 { return true }
        guard errno == EEXIST else { throw .last("mkdirat") }
        return false
    }

    /// Makes a directory of any name below an open one, where there is none.
    static func makeDirectory(
        _ name: ArraySlice<UInt8>, below directory: Descriptor, mode: UInt32
    ) throws(SystemError) {
        let text = name.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the string is NUL-terminated and lives for the call.
        guard unsafe mkdirat(directory.number, text, mode_t(mode)) == 0 else { throw .last("mkdirat") }
    }

    /// Makes a symbolic link of any name below an open directory.
    static func makeLink(
        _ name: ArraySlice<UInt8>, to target: [UInt8], below directory: Descriptor
    ) throws(SystemError) {
        let link = name.map { CChar(bitPattern: $0) } + [0]
        let text = target.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: both strings are NUL-terminated and live for the call.
        guard unsafe symlinkat(text, directory.number, link) == 0 else { throw .last("symlinkat") }
    }

    /// Where a link of any name leads; nil where it is none, or is not there.
    static func link(_ path: [UInt8]) -> [UInt8]? {
        let text = path.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the string is NUL-terminated, and the kernel writes no more than the buffer has room for.
        let target = unsafe [UInt8](unsafeUninitializedCapacity: SecureOpen.pathLimit + 1) { buffer, count in
            unsafe buffer.withMemoryRebound(to: CChar.self) { buffer in
                guard let base = buffer.baseAddress else { return }
                count = max(unsafe readlink(text, base, buffer.count), 0)
            }
        }
        return target.isEmpty ? nil : target
    }

    /// Makes a symbolic link below an open directory.
    static func makeLink(_ name: String, to target: ByteText, below directory: Descriptor) throws(SystemError) {
        let text = target.bytes + [0]
        // SAFETY: both strings are NUL-terminated for the call.
        let result = unsafe text.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { target in
                guard let base = target.baseAddress else { return Int32(-1) }
                return unsafe symlinkat(base, directory.number, name)
            }
        }
        guard result == 0 else { throw .last("symlinkat") }
    }

    /// Gives an open file to an owner and group.
    public static func setOwner(_ descriptor: Descriptor, uid: UInt32, gid: UInt32) throws(SystemError) {
        guard fchown(descriptor.number, uid, gid) == 0 else { throw .last("fchown") }
    }

    /// Sets an open file's permission bits.
    public static func setMode(_ descriptor: Descriptor, _ mode: UInt32) throws(SystemError) {
        guard fchmod(descriptor.number, mode_t(mode)) == 0 else { throw .last("fchmod") }
    }

    /// Sets a path's permission bits.
    public static func setMode(_ path: String, _ mode: UInt32) throws(SystemError) {
        // SAFETY: the string is NUL-terminated for the call.
        guard unsafe chmod(path, mode_t(mode)) == 0 else { throw .last("chmod") }
    }

    /// Removes a name; nothing where it is not there.
    public static func remove(_ path: String) throws(SystemError) {
        // SAFETY: the string is NUL-terminated for the call.
        guard unsafe unlink(path) == 0 || errno == ENOENT else { throw .last("unlink") }
    }

    /// Removes an empty directory; nothing where it is not there.
    public static func removeDirectory(_ path: String) throws(SystemError) {
        // SAFETY: the string is NUL-terminated for the call.
        guard unsafe rmdir(path) == 0 || errno == ENOENT else { throw .last("rmdir") }
    }

    /// Removes an empty directory below an open one; nothing where it is not there.
    static func removeDirectory(_ name: ByteText, below directory: Descriptor) throws(SystemError) {
        let text = name.bytes.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the string is NUL-terminated.
        guard unsafe unlinkat(directory.number, text, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw .last("unlinkat")
        }
    }

    /// Removes a name below an open directory; nothing where it is not there.
    public static func remove(_ name: String, below directory: Descriptor) throws(SystemError) {
        // SAFETY: the string is NUL-terminated for the call.
        guard unsafe unlinkat(directory.number, name, 0) == 0 || errno == ENOENT else { throw .last("unlinkat") }
    }

    /// Gives a file another name, replacing what had it.
    public static func rename(_ path: String, to other: String) throws(SystemError) {
        // SAFETY: the strings are NUL-terminated for the call.
        guard unsafe Glibc.rename(path, other) == 0 else { throw .last("rename") }
    }

    /// Gives a file below a directory another name below the same directory.
    public static func rename(
        _ name: String, to other: String, below directory: Descriptor
    ) throws(SystemError) {
        // SAFETY: the strings are NUL-terminated for the call.
        guard unsafe renameat(directory.number, name, directory.number, other) == 0 else { throw .last("renameat") }
    }

    /// Locks a file for this open description; false where another has it.
    ///
    /// - Parameter shared: with others who share it.
    public static func lock(_ descriptor: Descriptor, shared: Bool = false) throws(SystemError) -> Bool {
        if flock(descriptor.number, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 { return true }
        guard errno == EWOULDBLOCK else { throw .last("flock") }
        return false
    }

    /// Waits until an open file's bytes are on disk.
    public static func synchronize(_ descriptor: Descriptor) throws(SystemError) {
        guard fdatasync(descriptor.number) == 0 else { throw .last("fdatasync") }
    }

    /// Cuts an open file.
    public static func truncate(_ descriptor: Descriptor, to size: Int64) throws(SystemError) {
        guard ftruncate(descriptor.number, Int(size)) == 0 else { throw .last("ftruncate") }
    }

    /// Writes over bytes of a file that is not opened for appending, from a place on.
    public static func overwrite(
        _ descriptor: Descriptor, with bytes: [UInt8], at offset: Int64 = 0
    ) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            var result = 0
            repeat {
                // SAFETY: the pointer is valid for the closure, and pwrite(2) reads no more than the count.
                result = unsafe bytes[done...].withUnsafeBytes {
                    unsafe pwrite(descriptor.number, $0.baseAddress, $0.count, Int(offset) + done)
                }
            } while result < 0 && errno == EINTR
            guard result >= 0 else { throw .last("pwrite") }
            guard result > 0 else { throw SystemError(EIO, "pwrite") }
            done += result
        }
    }

    /// Reads at most `limit` bytes at a place of an open file, whose own place does not move.
    public static func read(
        _ descriptor: Descriptor, at offset: Int64, limit: Int
    ) throws(SystemError) -> [UInt8] {
        var result = 0
        // SAFETY: the buffer has room for `limit` bytes, and only what pread(2) wrote is counted.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            repeat {
                result = unsafe pread(descriptor.number, buffer.baseAddress, limit, Int(offset))
            } while result < 0 && errno == EINTR
            count = max(result, 0)
        }
        guard result >= 0 else { throw .last("pread") }
        return bytes
    }
}

/// Directories.
public enum Directory {
    /// The most names that are read.
    public static let nameLimit = 100_000

    /// The names in a directory, without `.` and `..`, in byte order.
    public static func names(_ path: String) throws(SystemError) -> [ByteText] {
        // SAFETY: the string is NUL-terminated for the call, and the directory is closed below.
        guard let directory = unsafe opendir(path) else { throw .last("opendir") }
        // SAFETY: it was opened above.
        defer { unsafe closedir(directory) }
        // SAFETY: it is open until the end of this scope.
        return unsafe names(directory)
    }

    /// The names in an open directory.
    public static func names(_ descriptor: Descriptor) throws(SystemError) -> [ByteText] {
        let copy = dup(descriptor.number)
        guard copy >= 0 else { throw .last("dup") }
        // SAFETY: the directory takes over the copy, and is closed below.
        guard let directory = unsafe fdopendir(copy) else {
            let failure = SystemError.last("fdopendir")
            close(copy)
            throw failure
        }
        // SAFETY: it was opened above.
        defer { unsafe closedir(directory) }
        // SAFETY: as above; another reader may have left its place elsewhere.
        unsafe rewinddir(directory)
        // SAFETY: it is open until the end of this scope.
        return unsafe names(directory)
    }

    /// Removes a directory and all below it, following no link; what cannot be removed stays.
    public static func removeTree(_ path: String) {
        guard let directory = try? File.open(path, [.directory, .noFollow]) else { return }
        empty(directory, depth: 0)
        // SAFETY: the string is NUL-terminated for the call.
        _ = unsafe rmdir(path)
    }

    /// The deepest directory that is emptied; a deeper one stays.
    private static let depthLimit = 128

    private static func empty(_ directory: Descriptor, depth: Int) {
        guard depth < depthLimit else { return }
        for name in (try? names(directory)) ?? [] {
            if let below = try? File.open(name.bytes, below: directory, [.directory, .noFollow]) {
                empty(below, depth: depth + 1)
                remove(name, below: directory, isDirectory: true)
            } else {
                remove(name, below: directory, isDirectory: false)
            }
        }
    }

    private static func remove(_ name: ByteText, below directory: Descriptor, isDirectory: Bool) {
        let text = name.bytes.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: the string is NUL-terminated.
        _ = unsafe unlinkat(directory.number, text, isDirectory ? AT_REMOVEDIR : 0)
    }

    private static func names(_ directory: OpaquePointer) -> [ByteText] {
        var found: [ByteText] = []
        // SAFETY: readdir's entry lives until the next call, and its name, which ends in NUL, is copied before. The entry is
        // no longer than its name: the whole of `d_name`, as it is declared, would be read from behind the C library's buffer.
        while found.count < nameLimit, let entry = unsafe readdir(directory) {
            let name = unsafe portcullis_entry_name(entry)
            let bytes = unsafe UnsafeRawBufferPointer(start: name, count: strlen(name)).map { $0 }
            if bytes != [46], bytes != [46, 46] { found.append(ByteText(bytes)) }
        }
        return found.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    }
}
