// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

internal import CLinux
internal import Glibc

/// Mounts in a namespace of the session's own.
public enum Mounts {
    private static let noSetuid: UInt = 2  // MS_NOSUID
    private static let noDevices: UInt = 4  // MS_NODEV
    private static let noExecute: UInt = 8  // MS_NOEXEC
    private static let recursive: UInt = 16_384  // MS_REC
    private static let slave: UInt = 1 << 19  // MS_SLAVE

    /// Cuts every mount of this namespace off from the others, so that nothing mounted here shows anywhere else.
    ///
    /// What the host mounts later still arrives (MS_SLAVE): a home that an automounter brings is mounted by a daemon in
    /// the host's namespace, and what the host unmounts is not held here. Comes before any other mount.
    public static func makePrivate() throws(ConfinementError) {
        try mount(nil, at: "/", type: nil, flags: recursive | slave, options: nil)
    }

    /// Mounts an empty tmpfs over a directory, without setuid and devices.
    ///
    /// - Parameters:
    ///   - place: the directory, `/tmp` mostly; a path of our own, not a stranger's.
    ///   - options: the tmpfs's, as mount(8) has them: 256 MiB and 65,536 names, but in tests. A literal: in a fork nothing puts
    ///     text together.
    public static func temporary(
        at place: StaticString = "/tmp", options: StaticString = "mode=1777,size=268435456,nr_inodes=65536"
    ) throws(ConfinementError) {
        try mount(
            "tmpfs", at: place.description, type: "tmpfs", flags: noSetuid | noDevices, options: options.description)
    }

    /// An empty tmpfs for one account alone, attached nowhere: mode 0700, without setuid and devices.
    ///
    /// What may be executed there is the sandbox's to say.
    ///
    /// - Parameters:
    ///   - uid: whose it is.
    ///   - gid: its group.
    ///   - size: the most bytes that it holds.
    ///   - entries: the most files and directories that it holds.
    static func home(
        uid: UInt32, gid: UInt32, size: UInt64 = 256 << 20, entries: UInt64 = 65_536
    ) throws(ConfinementError) -> Descriptor {
        try memory(
            mode: 0o700, uid: uid, gid: gid, size: size, entries: entries, restrictions: [.noSetuid, .noDevices])
    }

    /// Mounts a /proc that shows the processes of this pid namespace alone, without setuid, devices and programs.
    ///
    /// Called in the namespace's own init: a /proc shows the pid namespace of who mounts it.
    public static func processes() throws(ConfinementError) {
        try mount("proc", at: "/proc", type: "proc", flags: noSetuid | noDevices | noExecute, options: nil)
    }

    /// Makes the /proc that `processes` has mounted read-only: what is below /proc/sys is the whole host's, and uid 0
    /// may write it without any capability.
    static func freezeProcesses() throws(ConfinementError) {
        try restrict(opened("/proc"), [.readOnly])
    }

    /// Mounts terminals of this namespace's own, with the master at `ptmx` (devpts, mount(8)).
    static func terminals(at place: StaticString) throws(ConfinementError) {
        try mount(
            "devpts", at: place.description, type: "devpts", flags: noSetuid | noExecute,
            options: "newinstance,ptmxmode=0666,mode=0620")
    }

    /// Mounts an empty tmpfs for the names of devices, mode 0755, without setuid, devices and programs.
    static func names(at place: StaticString) throws(ConfinementError) {
        try mount(
            "tmpfs", at: place.description, type: "tmpfs", flags: noSetuid | noDevices | noExecute,
            options: "mode=0755,size=64k,nr_inodes=64")
    }

    /// As `names`, attached nowhere, its root open.
    static func detachedNames() throws(ConfinementError) -> Descriptor {
        try memory(mode: 0o755, size: 64 << 10, entries: 64, restrictions: [.noSetuid, .noDevices, .noPrograms])
    }

    /// An empty tmpfs for names alone, attached nowhere, its root open: what is in it is made before it becomes read-only.
    static func detachedRoot() throws(ConfinementError) -> Descriptor {
        try memory(mode: 0o755, restrictions: [.noSetuid, .noDevices, .noPrograms])
    }

    private static func memory(
        mode: UInt32, uid: UInt32 = 0, gid: UInt32 = 0, size: UInt64 = 0, entries: UInt64 = 0,
        restrictions: Restrictions
    ) throws(ConfinementError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: `made` lives for the call.
        let code = unsafe portcullis_memory_make(mode, uid, gid, size, entries, restrictions.rawValue, &made)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
        return Descriptor(owning: made)
    }

    /// Cuts mounts that are attached nowhere off from those that they are copies of.
    static func makePrivate(_ tree: Descriptor) throws(ConfinementError) {
        let code = portcullis_mounts_separate(tree.number)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
    }

    /// What mounts are kept from (mount_setattr(2)).
    struct Restrictions: OptionSet {
        let rawValue: UInt64
        /// Nothing is written or changed.
        static let readOnly = Restrictions(rawValue: 0x01)
        /// Set-uid, set-gid and file capabilities mean nothing.
        static let noSetuid = Restrictions(rawValue: 0x02)
        /// Devices cannot be opened.
        static let noDevices = Restrictions(rawValue: 0x04)
        /// Nothing is executed.
        static let noPrograms = Restrictions(rawValue: 0x08)
    }

    /// Makes a mount and every one below it read-only but for what lies at and below some open files and directories, and
    /// setuid programs mean nothing in any of them.
    ///
    /// Landlock does not govern modes, owners, times and attributes; a read-only mount does. What was read-only in
    /// those places stays so.
    ///
    /// - Parameters:
    ///   - path: where it is mounted.
    ///   - places: opened in this namespace.
    static func freeze(_ path: String, except places: [Descriptor]) throws(ConfinementError) {
        let root = try opened(path)
        var trees: [(tree: Descriptor, place: Descriptor)] = []
        for place in places { trees.append((try copy(place, [.noSetuid]), place)) }
        try restrict(root, [.readOnly, .noSetuid], below: true)
        for (tree, place) in trees { try attach(tree, over: place) }
    }

    /// A copy of what is open and of all that is mounted below it, attached nowhere.
    ///
    /// What the host mounts below it later arrives in the copy; what is mounted in the copy arrives nowhere.
    static func copy(_ place: Descriptor, _ restrictions: Restrictions = []) throws(ConfinementError) -> Descriptor {
        var made: Int32 = -1
        // SAFETY: `made` lives for the call.
        let code = unsafe portcullis_tree_copy(place.number, restrictions.rawValue, &made)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
        return Descriptor(owning: made)
    }

    /// Mounts such a copy over something open.
    static func attach(_ tree: Descriptor, over place: Descriptor) throws(ConfinementError) {
        let code = portcullis_tree_attach(tree.number, place.number)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
    }

    static func restrict(
        _ place: Descriptor, _ restrictions: Restrictions, below: Bool = false
    ) throws(ConfinementError) {
        let code = portcullis_mounts_restrict(place.number, restrictions.rawValue, below ? 1 : 0)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
    }

    /// Makes a mount of this namespace the root of this process; what was the root stays below it, where nothing leads.
    static func enter(_ root: Descriptor) throws(ConfinementError) {
        // SAFETY: the string is NUL-terminated for the call.
        guard fchdir(root.number) == 0, unsafe chroot(".") == 0 else { throw ConfinementError(.mounts, errno) }
    }

    /// Makes a mount of this namespace its root, and takes what was the root away.
    static func replaceRoot(by root: Descriptor) throws(ConfinementError) {
        let code = portcullis_root_replace(root.number)
        guard code == 0 else { throw ConfinementError(.mounts, code) }
    }

    static func opened(_ path: String) throws(ConfinementError) -> Descriptor {
        do {
            return try File.open(path, .directory)
        } catch {
            throw ConfinementError(.mounts, error.code)
        }
    }

    private static func mount(
        _ source: String?, at place: String, type: String?, flags: UInt, options: String?
    ) throws(ConfinementError) {
        // SAFETY: the pointer is used in the call alone.
        let result = unsafe withOptionalCString(options) { data in
            // SAFETY: all strings are C strings for the call, and the kernel copies the options.
            unsafe Glibc.mount(source, place, type, flags, data)
        }
        guard result == 0 else { throw ConfinementError(.mounts, errno) }
    }

    private static func withOptionalCString(_ text: String?, _ body: (UnsafeRawPointer?) -> Int32) -> Int32 {
        guard let text else { return body(nil) }
        // SAFETY: the pointer does not leave the call.
        return unsafe text.withCString { pointer in unsafe body(UnsafeRawPointer(pointer)) }
    }
}
