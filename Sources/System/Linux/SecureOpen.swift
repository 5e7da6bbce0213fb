// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
public import Core
internal import Glibc

/// Opening what must not be a stranger's to change: programs, policy, trust and credentials files.
///
/// A path is walked component by component on descriptors, links resolved by hand, so that what was checked is what
/// was opened. Every directory on the way must belong to a trusted account and not be writable by group or others;
/// a sticky directory of root's (`/tmp`) may be, but then its entry must belong to a trusted account.
public enum SecureOpen {
    /// The most links that one walk resolves, the kernel's own number.
    public static let linkLimit = 40
    /// The most bytes of a path (PATH_MAX without its NUL).
    public static let pathLimit = 4_095
    /// The most bytes of a trust file.
    public static let trustFileLimit = 64 * 1_024

    /// O_PATH, which glibc declares for _GNU_SOURCE alone; the same on x86-64 and arm64.
    private static let openPath: Int32 = 0x20_0000

    /// Why something was not opened.
    public enum Reason: Sendable, Hashable {
        /// Not an absolute path, or too long, or with a NUL in it.
        case malformed
        /// The system call failed, with its errno.
        case failed(Int32)
        /// It belongs to this account, which is not trusted here.
        case owner(UInt32)
        /// Group or others can write it; its mode.
        case writable(UInt32)
        /// Not a directory, where one is needed.
        case notADirectory
        /// Not a regular file.
        case notAFile
        /// Nobody may execute it.
        case notExecutable
        /// It has this many names.
        case links(UInt64)
        /// It has this many bytes.
        case size(UInt64)
        /// More than `linkLimit` links on the way.
        case tooManyLinks
        /// It was replaced while it was opened.
        case replaced
        /// It, or its mode, owner or number of names, was changed while it was read.
        case changed
        /// Its owner has it under a lease (fcntl(2), F_SETLEASE), and has not let go of it yet.
        case leased
    }

    /// What was refused, and why.
    public struct Refusal: Error, Hashable, CustomStringConvertible {
        /// The directory, link or file in question, as far as its links were resolved.
        public var path: ByteText
        /// Why.
        public var reason: Reason

        /// A refusal.
        public init(path: ByteText, reason: Reason) {
            self.path = path
            self.reason = reason
        }

        /// A sentence for logs and diagnostics; safe on a terminal.
        public var description: String {
            switch reason {
            case .malformed: "\(path.printable): not a usable absolute path"
            case .failed(let code): "\(path.printable): \(ConfinementError.text(of: code))"
            case .owner(let uid): "\(path.printable): belongs to uid \(uid)"
            case .writable: "\(path.printable): is writable by group or others"
            case .notADirectory: "\(path.printable): is no directory"
            case .notAFile: "\(path.printable): is no regular file"
            case .notExecutable: "\(path.printable): is not executable"
            case .links(let count): "\(path.printable): has \(count) links"
            case .size(let bytes): "\(path.printable): has \(bytes) bytes, too many"
            case .tooManyLinks: "\(path.printable): too many symbolic links"
            case .replaced: "\(path.printable): was replaced while it was opened"
            case .changed: "\(path.printable): was changed while it was read"
            case .leased: "\(path.printable): its owner holds it under a lease (fcntl F_SETLEASE)"
            }
        }
    }

    /// Which object of which file system something is.
    public struct Identity: Sendable, Hashable {
        /// The device.
        public var device: UInt64
        /// The inode.
        public var inode: UInt64
    }

    /// Something that was opened and has passed its checks.
    public struct Opened: Sendable {
        /// The descriptor.
        public let descriptor: Descriptor
        /// The path, links resolved.
        public let path: ByteText
        /// Which object it is.
        public let identity: Identity
        /// Its owner.
        public let owner: UInt32
        /// Its permission bits.
        public let mode: UInt32
        /// Its size in bytes.
        public let size: UInt64
        /// What the kernel said of it, for `readUnchanged`.
        fileprivate let stamp: Stamp
    }

    /// All of an object that somebody's change of it changes.
    fileprivate struct Stamp: Hashable {
        var identity: Identity
        var kind: UInt32
        var owner: UInt32
        var group: UInt32
        var mode: UInt32
        var links: UInt64
        var size: Int64
        var modified: [Int]
        var changed: [Int]

        init(_ status: stat) {
            identity = SecureOpen.identity(status)
            kind = status.st_mode & S_IFMT
            owner = status.st_uid
            group = status.st_gid
            mode = status.st_mode & 0o7777
            links = UInt64(status.st_nlink)
            size = Int64(status.st_size)
            modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
            changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        }
    }

    /// The accounts whose files are trusted here: root; for a plain user's gateway that user too.
    ///
    /// By the real uid: a session that borrows a target's identity does not come to trust the target's files.
    public static func trusted() -> Set<UInt32> {
        [0, getuid()]
    }

    // MARK: Directories and files

    /// Opens a directory, O_PATH; it and every directory on the way has passed the checks.
    public static func directory(
        _ path: ByteText, trusting owners: Set<UInt32> = trusted()
    ) throws(Refusal) -> Opened {
        var walk = try Walk(trusting: owners)
        try walk.follow(path)
        guard walk.isDirectory else { throw walk.refusal(.notADirectory) }
        return walk.finish()
    }

    /// Opens a regular file for reading; it is a trusted account's and not writable by group or others, checked on the
    /// open descriptor, and so is every directory on the way.
    public static func file(_ path: ByteText, trusting owners: Set<UInt32> = trusted()) throws(Refusal) -> Opened {
        var walk = try Walk(trusting: owners)
        try walk.follow(path)
        try check(walk.status, owners: owners, at: walk.path)
        return try walk.reopen()
    }

    /// Opens a regular file for reading below an open directory that the caller has checked; the last component is no
    /// link, and `name` no path.
    ///
    /// - Parameters:
    ///   - name: a name without `/`.
    ///   - directory: a descriptor, O_PATH or not.
    ///   - owners: who may own it.
    ///   - single: refuse a file with more than one name.
    ///   - limit: the most bytes.
    public static func file(
        named name: ByteText, in directory: Descriptor, trusting owners: Set<UInt32>, single: Bool = false,
        limit: Int = .max
    ) throws(Refusal) -> Opened {
        guard isEntry(name.bytes[...]) else { throw Refusal(path: name, reason: .malformed) }
        let looked = try open(name.bytes[...], in: directory, flags: SecureOpen.openPath | O_NOFOLLOW, shown: name)
        // A fifo or a device is not even opened: that alone can block, or rewind a tape.
        guard isRegular(try status(of: looked, shown: name)) else { throw Refusal(path: name, reason: .notAFile) }
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        let opened: Descriptor
        do throws(Refusal) {
            opened = try open(name.bytes[...], in: directory, flags: flags, shown: name)
        } catch {
            // Nothing but a lease has a regular file's non-blocking open wait.
            throw error.reason == .failed(EWOULDBLOCK) ? Refusal(path: name, reason: .leased) : error
        }
        let status = try status(of: opened, shown: name)
        try check(status, owners: owners, at: name)
        if single, status.st_nlink != 1 { throw Refusal(path: name, reason: .links(UInt64(status.st_nlink))) }
        let size = UInt64(clamping: status.st_size)
        guard size <= UInt64(clamping: limit) else { throw Refusal(path: name, reason: .size(size)) }
        return Self.opened(opened, path: name, status: status)
    }

    /// Opens a home directory, O_PATH: the target's or root's, not writable by group or others, on a way of root's.
    ///
    /// Called with the target's effective ids (`Credentials.borrowed`), so that a home which root cannot enter works,
    /// and nothing is seen that the target could not see.
    public static func home(_ path: ByteText, of uid: UInt32) throws(Refusal) -> Opened {
        var walk = try Walk(trusting: [0], last: [0, uid])
        try walk.follow(path)
        guard walk.isDirectory else { throw walk.refusal(.notADirectory) }
        // A sticky directory of root's may lie on the way, but is nobody's home.
        guard walk.status.st_mode & 0o022 == 0 else {
            throw walk.refusal(.writable(walk.status.st_mode & 0o7777))
        }
        return walk.finish()
    }

    /// Opens a trust file of an account below its home's descriptor, as docs/host-trust.md asks: the account's or root's,
    /// regular, not writable by group or others, one link, at most 64 KiB, no link in its place.
    public static func trustFile(named name: ByteText, inHome home: Descriptor, of uid: UInt32) throws(Refusal)
        -> Opened
    {
        try file(named: name, in: home, trusting: [0, uid], single: true, limit: trustFileLimit)
    }

    /// Reads what was opened, and looks again: what was read is what was checked.
    ///
    /// Without the second look an owner who opens a file to others between check and reading has their bytes trusted.
    ///
    /// - Parameters:
    ///   - directory: the file's, which must not have changed hands or been opened to others either.
    ///   - limit: the most bytes.
    /// - Throws: `changed`, `size`, or the errno of the read.
    public static func readUnchanged(_ file: Opened, in directory: Opened, limit: Int) throws(Refusal) -> [UInt8] {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try file.descriptor.readAll(limit: limit)
        } catch {
            throw Refusal(path: file.path, reason: .failed(error.code))
        }
        guard let bytes else { throw Refusal(path: file.path, reason: .size(UInt64(clamping: limit) + 1)) }
        guard Stamp(try status(of: file.descriptor, shown: file.path)) == file.stamp else {
            throw Refusal(path: file.path, reason: .changed)
        }
        // Entries come and go in a directory; whose it is, and who may change it, does not.
        let place = Stamp(try status(of: directory.descriptor, shown: directory.path))
        guard place.owner == directory.owner, place.mode == directory.mode else {
            throw Refusal(path: directory.path, reason: .changed)
        }
        return bytes
    }

    // MARK: Programs

    /// A program that was found and whose way is nobody's to change.
    public struct Program: Sendable, Hashable {
        /// The path that rules see and execve gets: absolute, /bin and /sbin written as /usr/bin and /usr/sbin.
        public var path: ByteText
        /// The path with its links resolved; forbid patterns are held against it too.
        public var resolved: ByteText
    }

    /// Finds the program that a command's first word means.
    ///
    /// A word without `/` is looked up in the search path's directories, in order; what fails the checks is passed
    /// over there. Found means: a regular file that somebody may execute, every directory on the way trusted.
    ///
    /// - Parameters:
    ///   - word: the command's first word.
    ///   - searchPath: absolute directories with `:` between them.
    /// - Throws: for a word with `/`, why it was refused; for one without, the last refusal that was not a mere
    ///   absence, or else the absence. All of them are `command-not-found` to a client.
    public static func program(
        _ word: ByteText, searchPath: ByteText, trusting owners: Set<UInt32> = trusted()
    ) throws(Refusal) -> Program {
        guard !word.bytes.contains(0), !word.isEmpty, word.count <= pathLimit else {
            throw Refusal(path: word, reason: .malformed)
        }
        if word.bytes.contains(UInt8(ascii: "/")) {
            guard let path = canonical(word) else { throw Refusal(path: word, reason: .malformed) }
            return try program(at: path, trusting: owners)
        }
        guard isEntry(word.bytes[...]) else { throw Refusal(path: word, reason: .malformed) }
        var refusal = Refusal(path: word, reason: .failed(ENOENT))
        for directory in searchPath.bytes.split(separator: UInt8(ascii: ":")) {
            var candidate = Array(directory)
            if candidate.last != UInt8(ascii: "/") { candidate.append(UInt8(ascii: "/")) }
            guard let path = canonical(ByteText(candidate + word.bytes)) else { continue }
            do throws(Refusal) {
                return try program(at: path, trusting: owners)
            } catch {
                if error.reason != .failed(ENOENT) { refusal = error }
            }
        }
        throw refusal
    }

    /// The form of a program's path that rules see, or nil where the path is not absolute or has an empty, `.` or `..`
    /// component.
    public static func canonical(_ path: ByteText) -> ByteText? {
        guard path.bytes.first == UInt8(ascii: "/"), !path.bytes.contains(0) else { return nil }
        let parts = path.bytes.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.allSatisfy(isEntry) else { return nil }
        if parts.count > 1, let first = parts.first, first.elementsEqual("bin".utf8) || first.elementsEqual("sbin".utf8)
        {
            return ByteText(Array("/usr".utf8) + path.bytes)
        }
        return path
    }

    private static func program(at path: ByteText, trusting owners: Set<UInt32>) throws(Refusal) -> Program {
        var walk = try Walk(trusting: owners)
        try walk.follow(path, lastIsDirectory: false)
        guard isRegular(walk.status) else { throw walk.refusal(.notAFile) }
        guard walk.status.st_mode & 0o111 != 0 else { throw walk.refusal(.notExecutable) }
        return Program(path: path, resolved: walk.path)
    }

    // MARK: Places of a sandbox

    /// A path that a sandbox opens, for a rule of Landlock.
    enum Place {
        case open(Descriptor)
        case missing(Int32)
    }

    /// Opens an absolute path, O_PATH, links followed: what an administrator wrote.
    static func place(_ path: ByteText) throws(ConfinementError) -> Place {
        guard path.bytes.first == UInt8(ascii: "/"), !path.bytes.contains(0) else {
            throw ConfinementError(.landlock, EINVAL)
        }
        return try place(path, in: nil, resolve: 0)
    }

    /// Opens a path below a directory, O_PATH; a link that leads out of it is as good as missing (openat2, Linux 5.6).
    static func place(_ path: ByteText, beneath directory: Descriptor) throws(ConfinementError) -> Place {
        guard !path.bytes.contains(0) else { throw ConfinementError(.landlock, EINVAL) }
        let relative = path.bytes.drop { $0 == UInt8(ascii: "/") }
        let name = relative.isEmpty ? [UInt8(ascii: ".")] : Array(relative)
        // RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS.
        return try place(ByteText(name), in: directory, resolve: 0x08 | 0x02)
    }

    /// A link that was followed.
    struct FollowedLink {
        /// Where it is, without a link in it.
        let path: [UInt8]
        /// Where it leads, as it says.
        let target: [UInt8]
        /// Whose it is.
        let owner: UInt32
    }

    /// A path that was followed link by link.
    struct Followed {
        /// What is at its end, O_PATH.
        let place: Descriptor
        /// What that is, asked with the rights that it was opened with.
        let status: FileStatus
        /// Where that is, without a link in it.
        let path: [UInt8]
        /// The links on the way, in their order.
        let links: [FollowedLink]
    }

    /// The most looks that `follow` takes: at each link, at each way without its `..`, and again where something was changed
    /// meanwhile.
    private static let lookLimit = 4 * linkLimit

    /// Follows an absolute path link by link; nil where it leads to nothing.
    ///
    /// TRUST: what is at the end was reached by the path that is returned, without a link and without going up: whatever
    /// somebody changes on the way meanwhile, these two belong together. (From `..` the kernel goes where a directory's parent
    /// is now. Whoever renames the directory while it is there leads it past what the text says, so with `..` in it a path is
    /// only asked whether it has links.)
    static func follow(_ name: ByteText) throws(ConfinementError) -> Followed? {
        guard name.bytes.first == slash, !name.bytes.contains(0) else { throw ConfinementError(.landlock, EINVAL) }
        var path = name.bytes
        var links: [FollowedLink] = []
        for _ in 0..<lookLimit {
            switch try look(at: path) {
            case .open(let found):
                let plain = canonical(path)
                guard plain == path else {
                    path = plain
                    continue
                }
                // What somebody else has mounted for himself alone (FUSE) is not there for others.
                guard let raw = try? status(of: found, shown: name) else { return nil }
                guard raw.st_mode & S_IFMT == S_IFLNK else {
                    return Followed(place: found, status: FileStatus(raw), path: path, links: links)
                }
                guard links.count < linkLimit else { return nil }
                guard let target = try? target(of: found, shown: name) else { continue }
                links.append(FollowedLink(path: path, target: target, owner: raw.st_uid))
                path = joined(path, target)
            case .missing(ELOOP):
                guard links.count < linkLimit else { return nil }
                guard let (link, rest) = try firstLink(in: path) else { continue }
                links.append(link)
                path = joined(link.path, link.target) + rest
            case .missing:
                return nil
            }
        }
        return nil
    }

    /// Opens an absolute path, O_PATH, in which there is no link but at its end, which is opened itself; with another one it is
    /// missing, with ELOOP.
    private static func look(at path: [UInt8]) throws(ConfinementError) -> Place {
        // RESOLVE_NO_SYMLINKS.
        try place(ByteText(path), in: nil, resolve: 0x04, flags: O_NOFOLLOW)
    }

    /// The first link in a path, and what comes behind it; nil where there is none any more.
    private static func firstLink(
        in path: [UInt8]
    ) throws(ConfinementError) -> (link: FollowedLink, rest: ArraySlice<UInt8>)? {
        var here: [UInt8] = []
        var rest = path[...]
        while let start = rest.firstIndex(where: { $0 != slash }) {
            let end = rest[start...].firstIndex(of: slash) ?? rest.endIndex
            let name = canonical(here + [slash] + rest[start..<end])
            rest = rest[end...]
            if File.link(name) != nil {
                let shown = ByteText(name)
                // Target and owner of one object, to which no other link leads.
                guard case .open(let file) = try look(at: name), let target = try? target(of: file, shown: shown),
                    let found = try? status(of: file, shown: shown)
                else { return nil }
                return (FollowedLink(path: name, target: target, owner: found.st_uid), rest)
            }
            here = name == rootPath ? [] : name
        }
        return nil
    }

    /// The path that a link at a path without links leads to.
    private static func joined(_ link: [UInt8], _ target: [UInt8]) -> [UInt8] {
        guard target.first != slash, let last = link.lastIndex(of: slash) else { return target }
        return link[...last] + target
    }

    /// A path in which there is no link, without empty components, `.` and `..`.
    static func canonical(_ path: [UInt8]) -> [UInt8] {
        var whole: [UInt8] = []
        for part in path.split(separator: slash) {
            if part.elementsEqual(".".utf8) { continue }
            if part.elementsEqual("..".utf8) {
                if let last = whole.lastIndex(of: slash) { whole.removeSubrange(last...) }
                continue
            }
            whole.append(slash)
            whole += part
        }
        return whole.isEmpty ? [slash] : whole
    }

    /// The root, as a path without links.
    static let rootPath = [slash]

    /// Whether a path without links is another, or lies below it.
    static func isBelow(_ path: [UInt8], _ other: [UInt8]) -> Bool {
        other == rootPath || path.starts(with: other) && (path.count == other.count || path[other.count] == slash)
    }

    private static let slash = UInt8(ascii: "/")

    /// Opens a path below a directory, O_PATH, in which there is no link.
    static func place(_ path: ByteText, inside directory: Descriptor) throws(ConfinementError) -> Place {
        // RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS.
        try place(path, in: directory, resolve: 0x08 | 0x04)
    }

    /// The most times that openat2(2) is asked again where something was renamed or mounted while it went up (EAGAIN).
    private static let attempts = 16

    private static func place(
        _ path: ByteText, in directory: Descriptor?, resolve: UInt64, flags: Int32 = 0
    ) throws(ConfinementError) -> Place {
        var opened: Int32 = -1
        let name = terminated(path.bytes[...])
        let flags = UInt64(SecureOpen.openPath | O_CLOEXEC | flags)
        var code = EAGAIN
        for _ in 0..<attempts where code == EAGAIN {
            // SAFETY: `name` ends in NUL and lives, with `opened`, for the call.
            code = unsafe portcullis_path_open(directory?.number ?? AT_FDCWD, name, flags, resolve, &opened)
        }
        switch code {
        case 0: return .open(Descriptor(owning: opened))
        case ENOENT, ENOTDIR, EACCES, ELOOP, EXDEV, ENAMETOOLONG: return .missing(code)
        default: throw ConfinementError(.landlock, code)
        }
    }

    /// What a path names, and every directory on the way, also to where links lead, as far as it exists; nothing is
    /// checked.
    static func way(to path: ByteText) -> Way {
        do throws(Refusal) {
            var walk = try Walk(trusting: nil)
            do throws(Refusal) {
                try walk.follow(path)
            } catch {
                return Way(identities: walk.visited, directories: walk.directories)
            }
            return Way(
                identities: walk.visited, directories: walk.directories, last: identity(walk.status),
                end: walk.finish().descriptor)
        } catch {
            return Way()
        }
    }

    /// A way to a path.
    struct Way {
        /// Every directory on it.
        var identities: Set<Identity> = []
        /// The same, open, O_PATH.
        var directories: [Descriptor] = []
        /// What is at its end; nil where the path names nothing.
        var last: Identity?
        /// The same, open, O_PATH.
        var end: Descriptor?
    }

    // MARK: The walk

    /// A walk from the root, with a descriptor on where it is.
    struct Walk {
        private var descriptor: Descriptor
        private var components: [[UInt8]] = []
        private var parents: [Descriptor] = []
        private let owners: Set<UInt32>?
        private let last: Set<UInt32>?
        private var linksLeft = SecureOpen.linkLimit
        private(set) var status: stat
        private(set) var visited: Set<Identity> = []
        /// What was visited, where nothing is checked: whoever asks for a way looks closer at it.
        private(set) var directories: [Descriptor] = []

        /// Starts at the root directory.
        ///
        /// - Parameters:
        ///   - owners: who is trusted on the way; nil checks nothing.
        ///   - last: who may own the last directory; nil is as `owners`.
        init(trusting owners: Set<UInt32>?, last: Set<UInt32>? = nil) throws(Refusal) {
            self.owners = owners
            self.last = last
            let root = ByteText("/")
            descriptor = try SecureOpen.open(
                root.bytes[...], in: nil, flags: SecureOpen.openPath | O_DIRECTORY, shown: root)
            status = try SecureOpen.status(of: descriptor, shown: root)
            try Self.check(status, owners: owners, at: root)
            visited.insert(SecureOpen.identity(status))
            if owners == nil { directories.append(descriptor) }
        }

        /// The path so far, links resolved.
        var path: ByteText {
            guard !components.isEmpty else { return "/" }
            return ByteText(components.flatMap { [UInt8(ascii: "/")] + $0 })
        }

        var isDirectory: Bool { status.st_mode & S_IFMT == S_IFDIR }

        func refusal(_ reason: Reason) -> Refusal {
            Refusal(path: path, reason: reason)
        }

        /// Follows an absolute path from the root, links resolved; the object at its end is where the walk is then.
        ///
        /// - Parameter lastIsDirectory: whether a directory at the end has to pass the checks of one on the way.
        mutating func follow(_ text: ByteText, lastIsDirectory: Bool = true) throws(Refusal) {
            guard text.bytes.first == UInt8(ascii: "/"), !text.bytes.contains(0),
                text.count <= SecureOpen.pathLimit
            else { throw Refusal(path: text, reason: .malformed) }
            // The components to come, the next one at the end.
            var rest = Array(text.bytes.split(separator: UInt8(ascii: "/")).map(Array.init).reversed())
            while let name = rest.popLast() {
                guard isDirectory else { throw refusal(.notADirectory) }
                if name == [UInt8(ascii: ".")] { continue }
                if name == [UInt8(ascii: "."), UInt8(ascii: ".")] {
                    try leave()
                    continue
                }
                if let target = try enter(name, isLast: rest.isEmpty) {
                    if target.first == UInt8(ascii: "/") { try restart() }
                    rest += target.split(separator: UInt8(ascii: "/")).map(Array.init).reversed()
                }
            }
        }

        /// Steps into an entry; for a link, stays where it is and returns where the link leads.
        private mutating func enter(_ name: [UInt8], isLast: Bool) throws(Refusal) -> [UInt8]? {
            let shown = ByteText(path.bytes + (components.isEmpty ? [] : [UInt8(ascii: "/")]) + name)
            let next = try SecureOpen.open(
                name[...], in: descriptor, flags: SecureOpen.openPath | O_NOFOLLOW, shown: shown)
            let found = try SecureOpen.status(of: next, shown: shown)
            // TRUST: in a directory that others can write (a sticky one of root's) a name is whose its entry is.
            // A home in one is its owner's: nobody else can put another in its place.
            let trusted = isLast && found.st_mode & S_IFMT == S_IFDIR ? last ?? owners : owners
            if let trusted, status.st_mode & 0o022 != 0, !trusted.contains(found.st_uid) {
                throw Refusal(path: shown, reason: .owner(found.st_uid))
            }
            if found.st_mode & S_IFMT == S_IFLNK {
                guard linksLeft > 0 else { throw Refusal(path: shown, reason: .tooManyLinks) }
                linksLeft -= 1
                return try SecureOpen.target(of: next, shown: shown)
            }
            if found.st_mode & S_IFMT == S_IFDIR {
                try Self.check(found, owners: isLast ? last ?? owners : owners, at: shown)
                visited.insert(SecureOpen.identity(found))
                if owners == nil { directories.append(next) }
            }
            parents.append(descriptor)
            descriptor = next
            components.append(name)
            status = found
            return nil
        }

        private mutating func leave() throws(Refusal) {
            guard let parent = parents.popLast() else { return }
            descriptor = parent
            components.removeLast()
            status = try SecureOpen.status(of: parent, shown: path)
        }

        private mutating func restart() throws(Refusal) {
            while !parents.isEmpty { try leave() }
        }

        private static func check(_ status: stat, owners: Set<UInt32>?, at path: ByteText) throws(Refusal) {
            guard let owners else { return }
            guard owners.contains(status.st_uid) else { throw Refusal(path: path, reason: .owner(status.st_uid)) }
            if status.st_mode & 0o022 == 0 || (status.st_uid == 0 && status.st_mode & S_ISVTX != 0) { return }
            throw Refusal(path: path, reason: .writable(status.st_mode & 0o7777))
        }

        /// Hands on where the walk is, O_PATH.
        func finish() -> Opened {
            SecureOpen.opened(descriptor, path: path, status: status)
        }

        /// Opens where the walk is for reading, and makes sure that it is the same object.
        func reopen() throws(Refusal) -> Opened {
            guard let name = components.last, let parent = parents.last else { throw refusal(.notAFile) }
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
            let opened = try SecureOpen.open(name[...], in: parent, flags: flags, shown: path)
            let now = try SecureOpen.status(of: opened, shown: path)
            guard SecureOpen.identity(now) == SecureOpen.identity(status) else { throw refusal(.replaced) }
            try SecureOpen.check(now, owners: owners ?? [], at: path)
            return SecureOpen.opened(opened, path: path, status: now)
        }
    }

    // MARK: Small pieces

    private static func check(_ status: stat, owners: Set<UInt32>, at path: ByteText) throws(Refusal) {
        guard isRegular(status) else { throw Refusal(path: path, reason: .notAFile) }
        guard owners.contains(status.st_uid) else { throw Refusal(path: path, reason: .owner(status.st_uid)) }
        guard status.st_mode & 0o022 == 0 else {
            throw Refusal(path: path, reason: .writable(status.st_mode & 0o7777))
        }
    }

    private static func isRegular(_ status: stat) -> Bool {
        status.st_mode & S_IFMT == S_IFREG
    }

    /// Whether this is the name of an entry: not empty, `.`, `..`, and without `/` and NUL.
    private static func isEntry(_ name: ArraySlice<UInt8>) -> Bool {
        !name.isEmpty && !name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8)
            && !name.contains(UInt8(ascii: "/")) && !name.contains(0)
    }

    private static func identity(_ status: stat) -> Identity {
        Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Which object an open file is, or nil where the system does not say.
    static func identity(of descriptor: Descriptor) -> Identity? {
        (try? status(of: descriptor, shown: "")).map(identity)
    }

    private static func opened(_ descriptor: Descriptor, path: ByteText, status: stat) -> Opened {
        Opened(
            descriptor: descriptor, path: path, identity: identity(status), owner: status.st_uid,
            mode: status.st_mode & 0o7777, size: UInt64(clamping: status.st_size), stamp: Stamp(status))
    }

    private static func terminated(_ bytes: ArraySlice<UInt8>) -> [CChar] {
        bytes.map { CChar(bitPattern: $0) } + [0]
    }

    private static func open(
        _ name: ArraySlice<UInt8>, in directory: Descriptor?, flags: Int32, shown: ByteText
    ) throws(Refusal) -> Descriptor {
        var opened: Int32 = -1
        let text = terminated(name)
        // SAFETY: `text` ends in NUL and lives, with `opened`, for the call.
        let code = unsafe portcullis_entry_open(directory?.number ?? AT_FDCWD, text, flags | O_CLOEXEC, &opened)
        guard code == 0 else { throw Refusal(path: shown, reason: .failed(code)) }
        return Descriptor(owning: opened)
    }

    private static func status(of descriptor: Descriptor, shown: ByteText) throws(Refusal) -> stat {
        var status = stat()
        // SAFETY: `status` lives for the call.
        guard unsafe fstat(descriptor.number, &status) == 0 else { throw Refusal(path: shown, reason: .failed(errno)) }
        return status
    }

    private static func target(of link: Descriptor, shown: ByteText) throws(Refusal) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: pathLimit + 1)
        // SAFETY: both arrays live for the call, and the kernel writes no more than `count` bytes.
        let length = unsafe readlinkat(link.number, [0], &buffer, buffer.count)
        guard length >= 0 else { throw Refusal(path: shown, reason: .failed(errno)) }
        guard length > 0, length <= pathLimit else { throw Refusal(path: shown, reason: .malformed) }
        return buffer.prefix(length).map { UInt8(bitPattern: $0) }
    }
}
