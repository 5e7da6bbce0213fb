// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// What starts daemons on a host: systemd's units, inetd's and xinetd's tables, and System V's links.
struct Activation {
    /// Something that starts a daemon.
    struct Entry: Hashable {
        /// The service, or the unit's name without its suffix.
        var service: String
        /// The ports that a socket unit waits at.
        var ports: [UInt16] = []
        /// Whether it is Portcullis's own.
        var isGateway = false
        /// Where it says so, for people.
        var place: String
    }

    /// All that was found.
    let entries: [Entry]

    init(_ host: LocalHost) {
        entries = Self.systemd(host) + Self.inetd(host) + Self.xinetd(host) + Self.systemV(host)
    }

    /// What starts a tool's daemon, by its service's name or by its port.
    func entries(of tool: RemoteTool) -> [Entry] {
        guard let port = tool.port else { return [] }
        return entries.filter { tool.services.contains($0.service) || $0.ports.contains(port.number) }
    }

    /// Whether a unit is enabled.
    func hasUnit(_ name: String) -> Bool {
        entries.contains { $0.service == name }
    }

    // MARK: systemd

    /// Where units lie, the strongest first (systemd.unit(5)).
    private static let unitDirectories = [
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]

    /// The units that something wants; a masked one is started by nothing.
    private static func systemd(_ host: LocalHost) -> [Entry] {
        var seen: Set<String> = []
        var found: [Entry] = []
        for directory in unitDirectories {
            for wants in host.names(directory) where wants.hasSuffix(".wants") || wants.hasSuffix(".requires") {
                for unit in host.names("\(directory)/\(wants)") where seen.insert(unit).inserted {
                    guard let dot = unit.lastIndex(of: "."), let file = file(of: unit, host) else { continue }
                    let stem = unit[..<dot].prefix { $0 != "@" }
                    let settings = settings(host.read(file).bytes ?? [])
                    let listens = settings.filter { $0.name == "ListenStream" || $0.name == "ListenDatagram" }
                    let starts = settings.last { $0.name == "Service" }?.value
                    found.append(
                        Entry(
                            service: String(stem), ports: listens.compactMap { port($0.value) },
                            isGateway: stem == "portcullis" || starts == "portcullis.service",
                            place: "\(unit) (\(directory)/\(wants))"))
                }
            }
        }
        return found
    }

    /// A unit's file; nil for one that is masked or not there.
    private static func file(of unit: String, _ host: LocalHost) -> String? {
        guard let path = unitDirectories.map({ "\($0)/\(unit)" }).first(where: host.exists) else {
            // An instance has the file of its template.
            guard let at = unit.firstIndex(of: "@"), let dot = unit.lastIndex(of: "."), at < dot,
                unit.index(after: at) != dot
            else { return nil }
            return file(of: String(unit[...at] + unit[dot...]), host)
        }
        return (try? File.linkTarget(host.path(path))) == "/dev/null" ? nil : path
    }

    /// `NAME=VALUE` lines of a unit.
    private static func settings(_ bytes: [UInt8]) -> [(name: String, value: String)] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let parts = String(decoding: line, as: UTF8.self).split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let name = parts.first, let value = parts.last else { return nil }
            return (String(name.trimmed), String(value.trimmed))
        }
    }

    /// The port of `514`, `127.0.0.1:514` or `[::1]:514`.
    private static func port(_ text: String) -> UInt16? {
        text.split(separator: ":").last.flatMap { UInt16($0) }
    }

    // MARK: inetd

    private static func inetd(_ host: LocalHost) -> [Entry] {
        let files = ["/etc/inetd.conf"] + host.names("/etc/inetd.d").map { "/etc/inetd.d/\($0)" }
        return files.flatMap { file -> [Entry] in
            let lines = (host.read(file).bytes ?? []).split(
                separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            return lines.enumerated().compactMap { index, line in
                let fields = String(decoding: line, as: UTF8.self).split { $0 == " " || $0 == "\t" }
                guard let first = fields.first, !first.hasPrefix("#"), fields.count >= 6 else { return nil }
                // An address may stand before the service.
                let service = String(first.split(separator: ":").last ?? first)
                return Entry(
                    service: service, ports: [UInt16(service)].compactMap(\.self), place: "\(file):\(index + 1)")
            }
        }
    }

    // MARK: xinetd

    private static func xinetd(_ host: LocalHost) -> [Entry] {
        let files = ["/etc/xinetd.conf"] + host.names("/etc/xinetd.d").map { "/etc/xinetd.d/\($0)" }
        return files.flatMap { file in
            xinetd(String(decoding: host.read(file).bytes ?? [], as: UTF8.self), file)
        }
    }

    /// `service NAME { … }`, which is on unless it says `disable = yes` (xinetd.conf(5)).
    private static func xinetd(_ text: String, _ file: String) -> [Entry] {
        var found: [Entry] = []
        var open: Entry?
        var isDisabled = false
        for line in text.split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" || $0 == "=" }
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            let last = words.last.map { String($0) } ?? ""
            switch first {
            case "service" where words.count > 1:
                open = Entry(service: String(words[1]), place: file)
                isDisabled = false
            case "disable": isDisabled = last == "yes"
            case "port": open?.ports = [UInt16(last)].compactMap(\.self)
            case "}":
                if let entry = open, !isDisabled { found.append(entry) }
                open = nil
            default: break
            }
        }
        return found
    }

    // MARK: System V

    /// The start links of the multi-user run levels.
    private static func systemV(_ host: LocalHost) -> [Entry] {
        var seen: Set<String> = []
        return [2, 3, 4, 5].flatMap { level in
            host.names("/etc/rc\(level).d").compactMap { link -> Entry? in
                guard link.hasPrefix("S"), link.count > 3, seen.insert(String(link.dropFirst(3))).inserted else {
                    return nil
                }
                return Entry(service: String(link.dropFirst(3)), place: "/etc/rc\(level).d/\(link)")
            }
        }
    }
}

extension StringProtocol {
    /// Without blanks and tabs at its ends.
    var trimmed: SubSequence {
        let start = drop { $0 == " " || $0 == "\t" || $0 == "\r" }
        guard let last = start.lastIndex(where: { $0 != " " && $0 != "\t" && $0 != "\r" }) else { return start }
        return start[...last]
    }
}
