// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux
import Trust

/// The host names of one decision, resolved forward alone, within one deadline for all of them.
///
/// What could not be found out is `failed`: a line that trusts does not match then, and one that denies does.
final class NameLookup {
    private let names: ServiceSettings.Names
    private let hostsFile: ByteText
    private let deadline: Int64
    private var hosts: HostsFile?
    private var isHostsFileRead = false
    private var known: [ByteText: HostTrust.NameAnswer] = [:]
    /// Why a name could not be looked up, the first time that it happened; for the record, in our own words.
    private(set) var trouble: String?

    /// Look-ups that end within so many milliseconds from now on.
    init(names: ServiceSettings.Names, hostsFile: ByteText, timeout: Int64) {
        self.names = names
        self.hostsFile = hostsFile
        deadline = Clock.monotonicMilliseconds() + timeout
    }

    /// The addresses of a name. A name is asked for once.
    func answer(_ name: ByteText) -> HostTrust.NameAnswer {
        if let answer = known[name] { return answer }
        let answer: HostTrust.NameAnswer =
            switch names {
            case .refuse: .unknown
            case .hostsFile: inHostsFile(name)
            case .dns: asked(name)
            }
        known[name] = answer
        return answer
    }

    private func failed(_ text: String) -> HostTrust.NameAnswer {
        trouble = trouble ?? text
        return .failed
    }

    // MARK: - The hosts file

    /// TRUST: whoever can write the hosts file can be any host in it, so that it is held to hosts.equiv's checks.
    private func inHostsFile(_ name: ByteText) -> HostTrust.NameAnswer {
        if !isHostsFileRead {
            isHostsFileRead = true
            switch TrustFileOpening.host(hostsFile, limit: HostsFile.sizeLimit) {
            case .absent: _ = failed("no \(hostsFile.printable)")
            case .rejected(let reason), .leased(let reason): _ = failed("\(hostsFile.printable) rejected: \(reason)")
            case .bytes(let bytes): hosts = HostsFile(bytes)
            }
        }
        return hosts?.answer(name) ?? .failed
    }

    // MARK: - Name service

    /// Asks name service in a process of its own: no call of it has a deadline, and its modules read strangers' bytes.
    private func asked(_ name: ByteText) -> HostTrust.NameAnswer {
        guard deadline > Clock.monotonicMilliseconds() else { return failed("name service took too long") }
        let read: Descriptor
        var write: Descriptor?
        let child: Int32
        do {
            (read, write) = try Descriptor.pipe()
            let parent = Process.id
            switch try Process.fork() {
            case .child: Self.serve(name, on: write, parent: parent)
            case .parent(let pid): child = pid
            }
        } catch {
            return failed("no process for name service: \(error)")
        }
        // The child's is the only one then, and its end is seen.
        write = nil
        let bytes = reply(on: read)
        Process.signal(child, Signals.Number.kill)
        Children.reap(child)
        guard let bytes else { return failed("name service took too long") }
        guard let answer = NameReply.decoded(bytes) else { return failed("name service gave no usable answer") }
        if answer == .failed { return failed("name service did not answer") }
        return answer
    }

    /// What the child writes, or nothing where it died; nil after the deadline.
    private func reply(on read: Descriptor) -> [UInt8]? {
        var entries = [Poll.Entry(read)]
        while true {
            let left = deadline - Clock.monotonicMilliseconds()
            guard left > 0 else { return nil }
            do throws(SystemError) {
                try Poll.wait(&entries, milliseconds: Int32(clamping: left))
                if entries.contains(where: { $0.isReadable || $0.isHangup }) { return try read.read(NameReply.limit) }
            } catch {
                return []
            }
        }
    }

    /// The child: asks, answers in one write, and ends. As root it is nobody first, and keeps nothing open.
    private static func serve(_ name: ByteText, on write: Descriptor?, parent: Int32) -> Never {
        do {
            guard let write else { Process.exitNow(1) }
            let out: Int32 = 3
            if write.number != out { try write.place(at: out) }
            Descriptor.closeAll(from: out + 1)
            if Process.isRoot { try Credentials(uid: 65_534, gid: 65_534, groups: []).drop() }
            try Process.dieWithParent()
            guard Process.parentID == parent, let pipe = Descriptor.inherited(out) else { Process.exitNow(1) }
            try pipe.writeAll(NameReply.encoded(Resolver.lookAsWritten(name)))
        } catch {
            Process.exitNow(1)
        }
        Process.exitNow(0)
    }
}

/// Name service's answer between the two processes: a kind, then seventeen bytes an address.
enum NameReply {
    /// The most bytes of one; less than a pipe takes in one piece (PIPE_BUF).
    static let limit = 1 + 17 * Resolver.addressLimit

    static func encoded(_ answer: Resolver.Answer) -> [UInt8] {
        switch answer {
        // Resolver stops at its limit: what it left out may be the very address that a line denies.
        case .endpoints(let found) where found.count >= Resolver.addressLimit: return [0]
        case .endpoints(let found):
            return found.reduce(into: [2]) { bytes, endpoint in
                bytes.append(endpoint.address.family == .v4 ? 4 : 6)
                bytes += (0..<16).reversed().map { UInt8(truncatingIfNeeded: endpoint.address.value >> ($0 * 8)) }
            }
        case .unknown: return [1]
        case .failed: return [0]
        }
    }

    static func decoded(_ bytes: [UInt8]) -> HostTrust.NameAnswer? {
        var rest = bytes[...]
        switch rest.popFirst() {
        case 0 where rest.isEmpty: return .failed
        case 1 where rest.isEmpty: return .unknown
        case 2: break
        default: return nil
        }
        var addresses: [IPAddress] = []
        while let family = rest.popFirst() {
            guard rest.count >= 16 else { return nil }
            let value = rest.prefix(16).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
            rest = rest.dropFirst(16)
            switch family {
            case 4:
                guard let short = UInt32(exactly: value) else { return nil }
                addresses.append(IPAddress(v4: short))
            case 6: addresses.append(IPAddress(v6: value))
            default: return nil
            }
        }
        return .addresses(addresses)
    }
}
