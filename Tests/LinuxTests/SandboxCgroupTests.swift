// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Glibc
import Testing

@testable import Linux

/// Control groups of sessions; what takes a hierarchy is done where root has one with cgroup.kill.
@Suite struct `Control groups` {
    private static let hybrid = """
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
        """
    private static let unified = """
        24 1 0:22 / / rw - ext4 /dev/vda rw
        31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
        """
    /// A container's, that sees its own part, in a place with a blank.
    private static let part = #"31 23 0:28 /docker/abc /mnt/c\040g rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw"#

    @Test(
        arguments: [
            ("4:memory:/job/7\n0::/\n", hybrid, "/sys/fs/cgroup/unified"),
            ("0::/system.slice/portcullis.service\n", unified, "/sys/fs/cgroup/system.slice/portcullis.service"),
            ("0::/docker/abc/in\n", part, "/mnt/c g/in"), ("0::/docker/abc\n", part, "/mnt/c g"),
            ("0::/docker/abcd\n", part, nil), ("0::/../other\n", unified, nil), ("4:memory:/job/7\n", hybrid, nil),
            ("0::/\n", "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory", nil), ("", "", nil),
            ("0::/", "41 31 0:38 / /x rw", nil),
        ] as [(String, String, String?)])
    func areWhereTheirHierarchyIsMounted(group: String, mounts: String, place: String?) {
        #expect(GatewayCgroup.place(of: group, among: mounts) == place)
    }

    @Test func whatTheKernelHasCountedIsRead() {
        let text = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"
        #expect(SessionCgroup.count("oom_kill", in: text) == 2 && SessionCgroup.count("max", in: text) == 12)
        #expect(SessionCgroup.count("oom_kill", in: "low 0\noom 3\noom_kill 0\n") == 0)
        for text in ["", "oom_kill", "oom_kill -1", "oom_kill 1 2", "oom_kills 1"] {
            #expect(SessionCgroup.count("oom_kill", in: text) == nil, "\(text)")
        }
    }

    /// A directory that is no group shows what is written: there need be no controllers for it.
    @Test func theSandboxsLimitsAreWrittenWhereThereAreControllers() throws {
        let place = try ScratchDirectory()
        let write = { (name: String) throws in
            _ = try File.open(place.path + "/" + name, [.writing, .creating, .truncating])
        }
        let read = { (name: String) -> String in
            String(decoding: (try? File.open(place.path + "/" + name, .reading).read(64)) ?? [], as: UTF8.self)
        }
        for name in ["memory.max", "memory.swap.max", "pids.max"] { try write(name) }
        let directory = try File.open(place.path, .directory)
        try SessionCgroup(path: place.path, bounds: [], descriptor: directory).bound(memory: 1 << 30, processes: 128)
        #expect(read("memory.max") == "" && read("pids.max") == "")
        try SessionCgroup(path: place.path, bounds: [.memory, .processes], descriptor: directory)
            .bound(memory: 1 << 30, processes: 128)
        #expect(read("memory.max") == "1073741824")
        #expect(read("memory.swap.max") == "0")
        #expect(read("pids.max") == "129", "the session's init is one more")
        // A kernel that counts no swap has no such file; one that counts no processes is not asked to.
        try File.remove(place.path + "/memory.swap.max")
        try SessionCgroup(path: place.path, bounds: .memory, descriptor: directory).bound(memory: 1 << 20, processes: 5)
        #expect(read("memory.max").hasPrefix("1048576"))
        try File.remove(place.path + "/memory.max")
        #expect(throws: ConfinementError(.cgroup, ENOENT)) {
            try SessionCgroup(path: place.path, bounds: .memory, descriptor: directory)
                .bound(memory: 1 << 20, processes: nil)
        }
    }

    static let canBeMade = geteuidIsRoot() && ((try? GatewayCgroup.make())?.map { $0.remove() } != nil)

    @Test(.enabled(if: canBeMade, "needs root and cgroup v2 with cgroup.kill (Linux 5.14)"))
    func endAllThatIsInThemAndAreGone() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                guard let gateway = try GatewayCgroup.make() else { return promise(1, false) }
                let group = try gateway.sessions.make(session: 7)
                promise(2, failure { try gateway.sessions.make(session: 7) } == ConfinementError(.cgroup, EEXIST))
                switch try Namespaces([]).fork(into: group.descriptor) {
                case .child:
                    try Namespaces.hideGroups()
                    // In a session and a process group of its own, with every signal that can be ignored.
                    if case .child = try Linux.Process.fork() {
                        try Linux.Process.startSession()
                        for number in 1..<32 { Signals.ignore(Int32(number)) }
                        while true { pause() }
                    }
                    let own = try File.open("/proc/self/cgroup", .reading).read(4_096)
                    promise(11, String(decoding: own, as: UTF8.self).split(separator: "\n").contains("0::/"))
                    while true { pause() }
                case .parent(let handle):
                    let text = { () -> String in
                        let path = "/proc/\(handle.pid)/cgroup"
                        return String(decoding: (try? File.open(path, .reading).read(4_096)) ?? [], as: UTF8.self)
                    }
                    promise(3, text().contains("/7\n"))
                    promise(4, !group.remove(within: 20))
                    group.kill()
                    promise(5, try ended(handle.pid) == .signalled(UInt8(SIGKILL)))
                    promise(6, group.remove(within: 5_000))
                    promise(7, try gateway.sessions.clear(session: 7))
                    gateway.remove()
                    promise(8, (try? File.status(gateway.sessions.path)) == nil)
                }
            }
        }
    }

    /// A command that could write its group has made others in it, one of them with a process.
    @Test(.enabled(if: canBeMade, "needs root and cgroup v2 with cgroup.kill (Linux 5.14)"))
    func takeAlongWhatWasMadeInThem() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                guard let gateway = try GatewayCgroup.make() else { return promise(1, false) }
                let group = try gateway.sessions.make(session: 9)
                promise(2, !CgroupTree.hasGroups(group.descriptor))
                var deepest = group.path
                for name in ["a", "b", "c"] {
                    deepest += "/" + name
                    promise(3, try File.makeDirectory(deepest, mode: 0o700))
                    promise(4, try File.makeDirectory(deepest + "-beside", mode: 0o700))
                }
                promise(5, CgroupTree.hasGroups(group.descriptor))
                switch try Namespaces([]).fork(into: try File.open(deepest, .directory)) {
                case .child:
                    while true { pause() }
                case .parent(let handle):
                    promise(6, !group.remove(within: 20))
                    // What is busy stays.
                    promise(7, (try? File.status(deepest)) != nil)
                    promise(8, (try? File.status(group.path + "/a-beside")) == nil)
                    // It ends what is in them; that is gone a moment later.
                    var isGone = try gateway.sessions.clear(session: 9)
                    promise(9, try ended(handle.pid) == .signalled(UInt8(SIGKILL)))
                    for _ in 0..<1_000 where !isGone {
                        usleep(1_000)
                        isGone = try gateway.sessions.clear(session: 9)
                    }
                    promise(10, isGone)
                    _ = try gateway.sessions.make(session: 10)
                    promise(11, try File.makeDirectory("\(gateway.sessions.path)/10/x", mode: 0o700))
                    gateway.remove()
                    promise(12, (try? File.status(gateway.sessions.path)) == nil)
                }
            }
        }
    }

    /// What a gateway that died left is the next one's to end; what one that lives has is not.
    @Test(.enabled(if: canBeMade, "needs root and cgroup v2 with cgroup.kill (Linux 5.14)"))
    func ofADeadGatewayAreEndedAndOfALivingOneStay() async {
        await #expect(processExitsWith: .exitCode(0)) {
            alone {
                let said = try Descriptor.pipe()
                guard case .parent(let first) = try Linux.Process.fork() else {
                    guard let gateway = try GatewayCgroup.make() else { Linux.Process.exitNow(1) }
                    let group = try gateway.sessions.make(session: 3)
                    switch try Namespaces([]).fork(into: group.descriptor) {
                    case .child:
                        // As a session's init, it holds nothing of the monitor's.
                        Descriptor.closeAll(from: 3)
                        while true { pause() }
                    case .parent(let handle):
                        try said.write.writeAll(Array("\(handle.pid) \(gateway.sessions.path)".utf8))
                        while true { pause() }
                    }
                }
                let words = String(decoding: try said.read.read(4_096), as: UTF8.self).split(separator: " ")
                guard words.count == 2, let pid = Int32(words[0]) else { return promise(1, false) }
                let isThere = { () -> Bool in (try? File.status("/proc/\(pid)/exe")) != nil }
                let second = try GatewayCgroup.make()
                promise(2, isThere() && (try? File.status(String(words[1]))) != nil)
                second?.remove()
                Linux.Process.signal(first, SIGKILL)
                _ = try ended(first)
                let third = try GatewayCgroup.make()
                // Another test's gateway may have been the first to find it, and be at it.
                for _ in 0..<1_000 where (try? File.status(String(words[1]))) != nil { usleep(10_000) }
                promise(3, (try? File.status(String(words[1]))) == nil)
                promise(4, !isThere())
                third?.remove()
            }
        }
    }
}

/// A new directory that goes with the value.
private final class ScratchDirectory {
    let path: String

    init() throws {
        let bytes = try Random.bytes(8).map { String($0, radix: 16) }.joined()
        path = "/tmp/portcullis-cgroup-" + bytes
        try File.makeDirectory(path, mode: 0o700)
    }

    deinit {
        Directory.removeTree(path)
    }
}
