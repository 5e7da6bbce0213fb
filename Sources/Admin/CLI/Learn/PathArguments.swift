// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Which arguments of a system call are paths, and what the call does with them.
struct PathArgument {
    /// What is done.
    enum Action {
        /// Opened; the flags are this argument.
        case open(flags: Int)
        /// Opened; the flags are the first word of what this argument points to.
        case openHow(Int)
        /// Made and opened for writing.
        case create
        /// Executed.
        case execute
        /// Its content, mode, owner, times or attributes are changed.
        case change
        /// The same of the link itself.
        case changeLink
        /// A name is made in its directory.
        case make
        /// A name is removed from its directory, or becomes another.
        case remove
        /// Asked for: that it is there, whose it is, its size and times; or made the working directory.
        case ask
        /// The same of a link itself, or what it says.
        case askLink
    }

    /// The argument that holds the descriptor of a directory; nil where the path starts at the working directory.
    var directory: Int?
    /// The argument that holds the path; nil where the descriptor itself is meant.
    var path: Int?
    /// What is done.
    var action: Action

    /// The calls that have any.
    static var calls: Set<String> { Set(table.keys) }

    /// The paths of a call; none for a call without any that Landlock, a read-only mount or the view governs.
    static func of(_ call: String) -> [PathArgument] { table[call] ?? [] }

    private static func at(_ path: Int, _ action: Action) -> PathArgument {
        PathArgument(directory: nil, path: path, action: action)
    }

    private static func below(_ directory: Int, _ path: Int, _ action: Action) -> PathArgument {
        PathArgument(directory: directory, path: path, action: action)
    }

    private static let descriptor = PathArgument(directory: 0, path: nil, action: .change)

    private static let table: [String: [PathArgument]] = [
        "open": [at(0, .open(flags: 1))], "openat": [below(0, 1, .open(flags: 2))],
        "openat2": [below(0, 1, .openHow(2))], "creat": [at(0, .create)],
        "execve": [at(0, .execute)], "execveat": [below(0, 1, .execute)],
        "truncate": [at(0, .change)],
        "chmod": [at(0, .change)], "fchmod": [descriptor], "fchmodat": [below(0, 1, .change)],
        "fchmodat2": [below(0, 1, .change)],
        "chown": [at(0, .change)], "fchown": [descriptor], "lchown": [at(0, .changeLink)],
        "fchownat": [below(0, 1, .change)],
        "utime": [at(0, .change)], "utimes": [at(0, .change)], "futimesat": [below(0, 1, .change)],
        "utimensat": [below(0, 1, .change)],
        "setxattr": [at(0, .change)], "lsetxattr": [at(0, .changeLink)], "fsetxattr": [descriptor],
        "removexattr": [at(0, .change)], "lremovexattr": [at(0, .changeLink)], "fremovexattr": [descriptor],
        "mkdir": [at(0, .make)], "mkdirat": [below(0, 1, .make)], "mknod": [at(0, .make)],
        "mknodat": [below(0, 1, .make)], "symlink": [at(1, .make)], "symlinkat": [below(1, 2, .make)],
        "link": [at(0, .remove), at(1, .make)], "linkat": [below(0, 1, .remove), below(2, 3, .make)],
        "rmdir": [at(0, .remove)], "unlink": [at(0, .remove)], "unlinkat": [below(0, 1, .remove)],
        "rename": [at(0, .remove), at(1, .make)], "renameat": [below(0, 1, .remove), below(2, 3, .make)],
        "renameat2": [below(0, 1, .remove), below(2, 3, .make)],
        "stat": [at(0, .ask)], "lstat": [at(0, .askLink)], "newfstatat": [below(0, 1, .ask)],
        "statx": [below(0, 1, .ask)],
        "access": [at(0, .ask)], "faccessat": [below(0, 1, .ask)], "faccessat2": [below(0, 1, .ask)],
        "statfs": [at(0, .ask)], "chdir": [at(0, .ask)],
        "readlink": [at(0, .askLink)], "readlinkat": [below(0, 1, .askLink)],
        "getxattr": [at(0, .ask)], "lgetxattr": [at(0, .askLink)],
        "listxattr": [at(0, .ask)], "llistxattr": [at(0, .askLink)],
        "inotify_add_watch": [at(1, .ask)], "name_to_handle_at": [below(0, 1, .askLink)],
    ]
}
