// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Policy
import Seccomp

/// Runs a command and takes down what it does: each system call is looked at before it is made.
///
/// What no sandbox allows is answered as every sandbox answers it, so that the command goes the way here that it will go
/// there: a program that would use io_uring opens its files by openat instead, where they are seen.
struct CommandLearner {
    /// What it did.
    private(set) var seen = Observations()
    /// What a reader should know of what was seen.
    private(set) var notes: [String] = []
    /// Calls whose paths could not be read, or do not say where they start.
    private(set) var unreadable = 0
    /// Processes that it left, which were ended.
    private(set) var leftovers = 0

    private let searchPath: [ByteText]
    private var usedSearchPath: Set<ByteText> = []
    private var names: [UInt32: String?] = [:]
    /// Processes whose execve was let go, and that have made no call since.
    private var executing: Set<Int32> = []
    /// What it made itself: found later, it needs no right of its own.
    private var made: Set<ByteText> = []
    private var written: Set<ByteText> = []

    /// EPERM, ENOSYS.
    private static let refused: Int32 = 1
    private static let unknown: Int32 = 38

    /// - Parameters:
    ///   - home: the home of who runs it.
    ///   - searchPath: the directories of its PATH.
    init(home: ByteText?, searchPath: [ByteText]) {
        seen.home = home
        self.searchPath = searchPath
    }

    /// Notes the links on the way of a home: a session has them by the account's entry.
    mutating func seesHome(by name: ByteText?) {
        seen.homeLinks = Set(name.map { ObservedProcess.links(on: $0).map(\.link) } ?? [])
    }

    /// Answers the command's calls until it has ended, and ends what it left.
    mutating func watch(_ observer: CommandObserver) throws(SystemError) -> ExitStatus {
        let started = Clock.monotonicMilliseconds()
        while true {
            switch try observer.next() {
            case .call(let call):
                let answer = look(at: call, observer)
                observer.answer(call, failing: answer)
            case .ended(let status):
                seen.resources.milliseconds = UInt64(max(0, Clock.monotonicMilliseconds() - started))
                leftovers = observer.endLeftovers()
                seen.resources.processorMilliseconds = CommandObserver.processorMilliseconds
                for path in written.union(made) { measure(path) }
                takeSearchPath()
                return status
            case nil:
                continue
            }
        }
    }

    // MARK: What is looked at

    /// The numbers of calls that need no look: `strict` allows them whatever their arguments, and none of those is a path, an
    /// address or anything else that a sandbox is made of, but an address of sendmsg or sendmmsg, which goes unseen. As
    /// children come, processes are counted when one ends.
    static let passed: [UInt32] = {
        guard let strict = SandboxDefinition.builtIn("strict") else { return [] }
        let looked = PathArgument.calls.union(["clone3", "exit", "exit_group", "ioctl", "socketpair", "sendto"])
            .union(["personality", "prlimit64"]).union(never)
        return SystemCallFilter.allowedNames(strict.sandbox(named: "strict")).filter { !looked.contains($0) }
            .compactMap { SystemCallFilter.number(of: $0) }.sorted()
    }()

    // MARK: A call

    /// Takes a call down, and says how it is to fail; nil where it is to be made.
    private mutating func look(at call: ObservedCall, _ observer: CommandObserver) -> Int32? {
        if executing.remove(call.thread) != nil {
            for path in ObservedProcess.executableFiles(of: call.thread) { seen.add(.executed, path) }
        }
        guard call.isNative else {
            seen.forbidden.insert("those of another architecture (which end the process)")
            return Self.unknown
        }
        guard let name = name(of: call.number) else {
            // A sandbox does not know it either. x32's end the process there.
            if call.number & 0x4000_0000 != 0 { seen.forbidden.insert("those of x32 (which end the process)") }
            return Self.unknown
        }
        if name == "clone3" { return Self.unknown }
        if Self.never.contains(name) {
            seen.forbidden.insert(name)
            return Self.refused
        }
        if SystemCallFilter.isAlwaysRefused(name, call.arguments) {
            seen.forbidden.insert(Self.described(name))
            return Self.refused
        }
        seen.systemCalls.insert(name)
        switch name {
        case "clone", "fork", "vfork":
            takeTasks(observer, besides: 1)
        case "exit", "exit_group":
            takeTasks(observer, besides: 0)
            takeSize(of: call.thread)
        case "ioctl":
            let request = UInt32(truncatingIfNeeded: call.arguments[1])
            if SystemCallFilter.attributeRequests.contains(request) { seen.systemCalls.insert("fsetxattr") }
        case "socket", "connect", "bind", "listen", "sendto", "socketpair":
            takeNetwork(name, call, observer)
        default:
            break
        }
        for argument in PathArgument.of(name) { take(argument, call, observer) }
        return nil
    }

    private mutating func name(of number: UInt32) -> String? {
        if let known = names[number] { return known }
        let name = SystemCallFilter.name(of: number)
        names[number] = .some(name)
        return name
    }

    private static let never = SystemCallGroups.never.union(SystemCallFilter.never)
        .union(SystemCallFilter.neverConfined)

    /// A call that every sandbox refuses for its arguments, in words (docs/sandboxes.md, The filter).
    private static func described(_ name: String) -> String {
        switch name {
        case "clone": "clone with new namespaces or CLONE_PARENT"
        case "ioctl": "ioctl TIOCSTI or TIOCLINUX"
        case "personality": "personality with unusual values"
        case "prlimit64": "prlimit64 of another process"
        default: name
        }
    }

    // MARK: Resources

    private mutating func takeTasks(_ observer: CommandObserver, besides more: Int) {
        let count = UInt64(ObservedProcess.tasks(below: observer.command.pid) + more)
        seen.resources.tasks = max(seen.resources.tasks, count)
    }

    private mutating func takeSize(of thread: Int32) {
        guard let size = ObservedProcess.size(of: thread) else { return }
        seen.resources.addressSpace = max(seen.resources.addressSpace, size.addressSpace)
        seen.resources.descriptors = max(seen.resources.descriptors, size.descriptors)
    }

    private mutating func measure(_ path: ByteText) {
        guard let place = ObservedProcess.place(path), place.kind == .regular else { return }
        seen.resources.fileSize = max(seen.resources.fileSize, UInt64(max(0, place.size)))
    }

    private mutating func takeSearchPath() {
        let further = searchPath.filter { usedSearchPath.contains($0) }
        guard !further.isEmpty else { return }
        seen.searchPath = further + Self.usualSearchPath
    }

    private static let usualSearchPath: [ByteText] = ["/usr/bin", "/bin"]

    // MARK: Paths

    /// AT_FDCWD.
    private static let workingDirectory: Int32 = -100
    /// O_PATH and what O_TMPFILE is beside O_DIRECTORY; the same on x86-64 and arm64.
    private static let pathOnly: UInt64 = 0o10_000_000
    private static let unnamed: UInt64 = 0o20_000_000

    private mutating func take(_ argument: PathArgument, _ call: ObservedCall, _ observer: CommandObserver) {
        let descriptor = argument.directory.map { Int32(truncatingIfNeeded: call.arguments[$0]) }
        let directory = descriptor == Self.workingDirectory ? nil : descriptor
        var text: ByteText = ""
        if let path = argument.path {
            // Without a path utimensat and its like mean the descriptor.
            if call.arguments[path] != 0 {
                guard let read = observer.text(of: call.thread, at: call.arguments[path]) else {
                    unreadable += 1
                    return
                }
                text = read
            }
            if text.isEmpty, directory == nil { return }
        }
        guard let path = ObservedProcess.absolute(text, of: call.thread, below: directory) else {
            // A pipe or a socket is no path, and needs no right.
            return
        }
        use(path, argument.action, call, observer)
    }

    private mutating func use(
        _ path: ByteText, _ action: PathArgument.Action, _ call: ObservedCall, _ observer: CommandObserver
    ) {
        switch action {
        case .open(let flags):
            open(path, flags: call.arguments[flags])
        case .openHow(let how):
            let bytes = observer.bytes(of: call.thread, at: call.arguments[how], count: 8)
            guard bytes.count == 8 else { return unreadable += 1 }
            open(path, flags: bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) })
        case .create:
            open(path, flags: UInt64(UInt32(File.Options([.writing, .creating, .truncating]).rawValue)))
        case .execute:
            guard let place = ObservedProcess.place(path), place.kind == .regular else { return }
            seen.add(.executed, place.path)
            addName(path, .executed, place.path)
            if place.mode & 0o6000 != 0 {
                note("executed \(place.path.printable), which is setuid or setgid: that gives nothing in a sandbox")
            }
            if let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) {
                let directory = ByteText(Array(path.bytes[..<slash]))
                if !Self.usualSearchPath.contains(directory) { usedSearchPath.insert(directory) }
            }
            if let process = ObservedProcess.process(of: call.thread) { executing.insert(process) }
        case .change, .changeLink:
            var follows = true
            if case .changeLink = action { follows = false }
            guard let place = ObservedProcess.place(path, followsLast: follows), place.kind != nil else { return }
            add(.written, place.path, as: path)
        case .make:
            // Where it is there already the kernel says so before it asks anybody; but rename replaces it.
            guard let place = ObservedProcess.place(path, followsLast: false) else { return }
            let replaces = (name(of: call.number) ?? "").hasPrefix("rename")
            guard place.kind == nil || replaces else { return }
            changeDirectory(of: place.path, as: path)
            made.insert(place.path)
        case .remove:
            guard let place = ObservedProcess.place(path, followsLast: false), place.kind != nil else { return }
            measure(place.path)
            changeDirectory(of: place.path, as: path)
        case .ask:
            ask(path)
        case .askLink:
            ask(path, followsLast: false)
        }
    }

    /// A session as root sees the listed paths alone: what is not there for it matters to some programs.
    private mutating func ask(_ path: ByteText, followsLast: Bool = true) {
        guard let place = ObservedProcess.place(path, followsLast: followsLast), place.kind != nil else { return }
        seen.add(.asked, place.path)
        // Who asks for a link goes where it leads, on his own.
        guard let end = place.kind == .link ? File.resolved(path.bytes).map({ ByteText($0) }) : place.path else {
            return
        }
        addName(path, .asked, end)
    }

    /// Notes the links by which a path was used.
    private mutating func addName(_ name: ByteText, _ use: Observations.Use, _ end: ByteText) {
        guard name != end else { return }
        var whole: [Observations.Name.Link] = []
        for found in ObservedProcess.links(on: name) {
            let link = Observations.Name.Link(link: found.link, path: found.path)
            if found.isWhole {
                whole.append(link)
            } else if let passed = File.resolved(found.path.bytes) {
                // No policy names a path with `..` in it; but the directory has to be there.
                seen.names[Observations.Name(links: [link], end: ByteText(passed)), default: []].formUnion(.asked)
            }
        }
        if !whole.isEmpty { seen.names[Observations.Name(links: whole, end: end), default: []].formUnion(use) }
    }

    private mutating func open(_ path: ByteText, flags: UInt64) {
        // Opened for its place alone, it needs no right.
        guard flags & Self.pathOnly == 0 else { return ask(path) }
        let has = { (option: File.Options) in flags & UInt64(UInt32(bitPattern: option.rawValue)) != 0 }
        guard let place = ObservedProcess.place(path, followsLast: !has(.noFollow)) else { return }
        let writes = flags & 3 != 0 || has(.truncating)
        switch place.kind {
        case nil:
            guard has(.creating) else { return }
            changeDirectory(of: place.path, as: path)
            made.insert(place.path)
        case .directory:
            if flags & Self.unnamed != 0 { return add(.changed, place.path, as: path) }
            add(.listed, place.path, as: path)
        case .link:
            // O_NOFOLLOW: it fails.
            return
        case .regular, .fifo, .other:
            if writes { written.insert(place.path) }
            add(writes ? .written : .read, place.path, as: path)
        }
    }

    private mutating func changeDirectory(of path: ByteText, as name: ByteText) {
        let above = { (path: ByteText) -> ByteText? in
            let bytes = AbsolutePath.withoutLastSlash(path).bytes
            guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return nil }
            return ByteText(slash == 0 ? [UInt8(ascii: "/")] : Array(bytes[..<slash]))
        }
        guard let directory = above(path), let named = above(name) else { return }
        add(.changed, directory, as: named)
    }

    /// Takes a use of a path down.
    ///
    /// - Parameter name: the path as it was used, absolute, its links not resolved.
    private mutating func add(_ use: Observations.Use, _ path: ByteText, as name: ByteText) {
        let isPrivate = AbsolutePath.isBeneath(path, "/tmp") && path != "/tmp"
        let isOwn = use == .changed || made.contains(where: { AbsolutePath.isBeneath(path, $0) })
        if isPrivate, !isOwn {
            note("used \(path.printable), which was there before: /tmp is empty at a command's start")
        }
        seen.add(use, path)
        addName(name, use, path)
    }

    private mutating func note(_ text: String) {
        guard notes.count < Self.notesLimit, !notes.contains(text) else { return }
        notes.append(text)
    }

    private static let notesLimit = 16

    // MARK: Network

    private mutating func takeNetwork(_ name: String, _ call: ObservedCall, _ observer: CommandObserver) {
        let arguments = call.arguments
        switch name {
        case "socket":
            takeSocket(family: arguments[0] & 0xFFFF_FFFF, kind: arguments[1] & 0xF, protocolNumber: arguments[2])
        case "socketpair":
            if arguments[0] & 0xFFFF_FFFF == 1, ![1, 5].contains(arguments[1] & 0xF) {
                seen.network.further.insert("makes a pair of datagram sockets")
            }
        case "listen":
            seen.network.further.insert("listens for connections")
        case "sendto":
            // MSG_FASTOPEN connects.
            if arguments[3] & 0x2000_0000 != 0 { seen.network.further.insert("connects by TCP fast open") }
            if arguments[4] != 0 { takeAddress(call, observer, at: 4, length: arguments[5], binds: false) }
        default:
            takeAddress(call, observer, at: 1, length: arguments[2], binds: name == "bind")
        }
    }

    private mutating func takeSocket(family: UInt64, kind: UInt64, protocolNumber: UInt64) {
        switch family {
        case 1:
            return
        case 2, 10:
            switch (kind, protocolNumber & 0xFFFF_FFFF) {
            case (1, 0), (1, 6): return
            case (2, _): seen.network.further.insert("opens a UDP socket (names are looked up over UDP)")
            default: seen.network.further.insert("opens a raw or unusual IP socket")
            }
        case 16:
            note("asked the kernel about its network (netlink), which needs network on: left out")
        default:
            seen.network.further.insert("opens a socket of address family \(family)")
        }
    }

    /// Sockets at which the C library asks for accounts and names; without them it reads files.
    private static let nameServices: [ByteText] = ["/run/nscd", "/run/systemd/userdb", "/var/lib/sss/pipes"]

    private mutating func takeAddress(
        _ call: ObservedCall, _ observer: CommandObserver, at place: Int, length: UInt64, binds: Bool
    ) {
        let bytes = observer.bytes(of: call.thread, at: call.arguments[place], count: Int(min(length, 128)))
        guard bytes.count >= 2 else { return }
        switch UInt16(bytes[0]) | UInt16(bytes[1]) << 8 {
        case 1:
            let name = bytes.dropFirst(2)
            guard let first = name.first else { return }
            guard first != 0 else {
                seen.network.further.insert("uses an abstract socket")
                return
            }
            let text = ByteText(Array(name.prefix { $0 != 0 }))
            guard let path = ObservedProcess.absolute(text, of: call.thread) else { return }
            if binds {
                if let found = ObservedProcess.place(path) { changeDirectory(of: found.path, as: path) }
                seen.network.further.insert("binds the socket \(path.printable)")
                return
            }
            guard let found = ObservedProcess.place(path), found.kind != nil else { return }
            if Self.nameServices.contains(where: { AbsolutePath.isBeneath(found.path, $0) }) {
                return note("asked \(found.path.printable) for names, which needs network on: left out")
            }
            seen.network.further.insert("connects to the socket \(found.path.printable)")
            // It has to be there.
            add(.read, found.path, as: path)
        case 2, 10:
            guard bytes.count >= 4 else { return }
            let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
            if binds {
                seen.network.further.insert("binds an address")
            } else if port != 0 {
                seen.network.ports.insert(port)
            }
        default:
            return
        }
    }
}
