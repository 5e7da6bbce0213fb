// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

public import Core

/// A socket that waits for strangers: a TCP listener, or a UDP socket that is bound and not connected.
public struct WaitingSocket: Sendable, Hashable {
    /// TCP or UDP.
    public enum Transport: String, Sendable, Hashable {
        case tcp
        case udp
    }

    /// The transport.
    public var transport: Transport
    /// Where it waits.
    public var endpoint: Endpoint
    /// Its number in the kernel's table, by which its holders are found.
    public var inode: UInt64

    /// A socket.
    public init(transport: Transport, endpoint: Endpoint, inode: UInt64) {
        self.transport = transport
        self.endpoint = endpoint
        self.inode = inode
    }
}

/// The kernel's tables of sockets (proc(5), /proc/net), those of this network namespace.
public enum SocketTable {
    /// The most bytes of a table.
    public static let sizeLimit = 256 << 20

    /// Reads the sockets that wait for strangers.
    ///
    /// - Parameter directory: where `tcp`, `tcp6`, `udp` and `udp6` lie; a host without IPv6 lacks two of them.
    public static func waiting(_ directory: String = "/proc/net") throws(SystemError) -> [WaitingSocket] {
        var found: [WaitingSocket] = []
        for transport in [WaitingSocket.Transport.tcp, .udp] {
            for suffix in ["", "6"] {
                let file: Descriptor
                do throws(SystemError) {
                    file = try File.open("\(directory)/\(transport.rawValue)\(suffix)", [.reading])
                } catch {
                    if error.isNotFound, !suffix.isEmpty { continue }
                    throw error
                }
                guard let bytes = try file.readAll(limit: sizeLimit) else {
                    throw SystemError(27 /* EFBIG */, "read")
                }
                found += waiting(in: bytes, transport)
            }
        }
        return found
    }

    /// The states of sockets that wait: TCP_LISTEN, and for UDP TCP_CLOSE, which is "not connected" (include/net/tcp_states.h).
    private static func waits(_ state: some Collection<UInt8>, _ transport: WaitingSocket.Transport) -> Bool {
        state.elementsEqual((transport == .tcp ? "0A" : "07").utf8)
    }

    /// Parses a table; a line that is not understood is passed over, as the heading is.
    static func waiting(in bytes: [UInt8], _ transport: WaitingSocket.Transport) -> [WaitingSocket] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 10)
            guard fields.count > 9, waits(fields[3], transport), let endpoint = endpoint(fields[1]),
                let inode = UInt64(String(decoding: fields[9], as: UTF8.self))
            else { return nil }
            return WaitingSocket(transport: transport, endpoint: endpoint, inode: inode)
        }
    }

    /// `ADDRESS:PORT` in hexadecimal; an address is one word or four, each in the host's byte order.
    private static func endpoint(_ field: ArraySlice<UInt8>) -> Endpoint? {
        let parts = field.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count == 4, parts[0].count == 8 || parts[0].count == 32,
            let port = UInt16(String(decoding: parts[1], as: UTF8.self), radix: 16)
        else { return nil }
        var value: UInt128 = 0
        var rest = parts[0]
        while !rest.isEmpty {
            guard let word = UInt32(String(decoding: rest.prefix(8), as: UTF8.self), radix: 16) else { return nil }
            value = value << 32 | UInt128(UInt32(bigEndian: word))
            rest = rest.dropFirst(8)
        }
        let address =
            parts[0].count == 8 ? IPAddress(v4: UInt32(truncatingIfNeeded: value)) : IPAddress(v6: value)
        return Endpoint(address: address, port: port)
    }
}

/// A process that holds a socket.
public struct SocketHolder: Sendable, Hashable {
    /// The process.
    public var pid: Int32
    /// Its effective user, as this process's user namespace numbers it: who is root in a namespace of its own is not 0.
    public var uid: UInt32
    /// What it calls itself (proc(5), comm): up to 15 bytes of its own choice.
    public var name: ByteText
    /// Its program's path, in a mount namespace that may be its own; nil where the kernel does not say.
    public var program: ByteText?
    /// Its program's file, whatever the path; nil where the kernel does not say.
    public var file: FileIdentity?
}

/// Who holds sockets, from /proc.
public struct SocketHolders: Sendable {
    /// The holders of each socket that was asked for, by inode, in the order of their pids.
    public private(set) var holders: [UInt64: [SocketHolder]] = [:]
    /// Whether the search came to its end. Where it did not, a socket may have holders that are not named.
    public private(set) var isComplete = true

    /// How long a search takes at most, in milliseconds.
    ///
    /// Any account can have processes with hundreds of thousands of descriptors, and each is looked at.
    public static let patience: Int64 = 20_000
    /// How many descriptors are looked at between two looks at the clock.
    private static let stride = 256
    /// The most bytes of a process's name.
    private static let nameLimit = 64

    /// Looks for the holders of sockets.
    ///
    /// - Parameters:
    ///   - inodes: the sockets.
    ///   - uids: whose processes are looked at first, and all of them; where each socket has a holder among them, the
    ///     processes of other accounts are not looked at.
    ///   - patience: how long it takes at most, in milliseconds.
    ///   - directory: where the processes are.
    public init(
        of inodes: Set<UInt64>, first uids: Set<UInt32> = [0], patience: Int64 = Self.patience,
        _ directory: String = "/proc"
    ) throws(SystemError) {
        guard !inodes.isEmpty else { return }
        let deadline = Clock.monotonicMilliseconds() + patience
        let links = Dictionary(uniqueKeysWithValues: inodes.map { (ByteText("socket:[\($0)]"), $0) })
        var first: [Int32] = []
        var others: [Int32] = []
        let names = try Directory.names(directory)
        if names.count >= Directory.nameLimit { isComplete = false }
        for pid in names.compactMap({ Int32($0.printable) }).sorted() {
            guard let uid = (try? File.status("\(directory)/\(pid)"))?.uid else { continue }
            if uids.contains(uid) { first.append(pid) } else { others.append(pid) }
        }
        look(at: first, in: directory, links, until: deadline)
        if isComplete, holders.count < inodes.count { look(at: others, in: directory, links, until: deadline) }
        for inode in holders.keys { holders[inode]?.sort { $0.pid < $1.pid } }
    }

    private mutating func look(
        at pids: [Int32], in directory: String, _ links: [ByteText: UInt64], until deadline: Int64
    ) {
        for pid in pids {
            let place = "\(directory)/\(pid)"
            // A process that has ended meanwhile holds nothing; another account's only root can look into.
            guard let names = try? Directory.names(place + "/fd") else { continue }
            if names.count >= Directory.nameLimit { isComplete = false }
            var held: Set<UInt64> = []
            for (index, name) in names.enumerated() {
                if index % Self.stride == 0, Clock.monotonicMilliseconds() >= deadline {
                    isComplete = false
                    return
                }
                let target = try? File.linkTarget("\(place)/fd/\(name.printable)")
                if let inode = target.flatMap({ links[$0] }) { held.insert(inode) }
            }
            guard !held.isEmpty, let holder = Self.holder(pid, at: place) else { continue }
            for inode in held { holders[inode, default: []].append(holder) }
        }
    }

    private static func holder(_ pid: Int32, at place: String) -> SocketHolder? {
        guard let uid = (try? File.status(place))?.uid else { return nil }
        var name = (try? File.open(place + "/comm", [.reading]).read(nameLimit)) ?? []
        if name.last == UInt8(ascii: "\n") { name.removeLast() }
        let program = try? File.linkTarget(place + "/exe")
        let file = (try? File.status(place + "/exe"))?.identity
        // A process may become another program meanwhile, and another user by it: then nothing is known of it.
        guard (try? File.status(place))?.uid == uid else {
            return SocketHolder(pid: pid, uid: uid, name: ByteText(name))
        }
        return SocketHolder(pid: pid, uid: uid, name: ByteText(name), program: program, file: file)
    }
}
