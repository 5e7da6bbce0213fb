// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core
import Linux

/// How a host's audit daemon and rules are set up (auditd.conf(5), audit.rules(7)), and whether it runs.
struct AuditdSettings {
    /// The settings of auditd.conf, names and values in lower case; nil where there is no such file.
    let settings: [String: String]?
    /// The rules, in the order in which augenrules would load them.
    let rules: [String]
    /// What could not be read.
    let problems: [String]
    /// Whether the process of /run/auditd.pid is auditd; nil where only root may see that.
    let isRunning: Bool?
    /// The words of the kernel's command line in their order, those for init left out; nil where they could not be read.
    let kernelWords: [String]?

    init(_ host: LocalHost) {
        var problems: [String] = []
        func lines(_ path: String) -> [String]? {
            switch host.read(path) {
            case .absent: return nil
            case .unreadable(let text):
                problems.append(text)
                return nil
            case .bytes(let bytes):
                return bytes.split(separator: UInt8(ascii: "\n"))
                    .map { String(String(decoding: $0, as: UTF8.self).trimmed) }
                    .filter { !$0.isEmpty && !$0.hasPrefix("#") }
            }
        }
        settings = lines("/etc/audit/auditd.conf").map { lines in
            Dictionary(
                lines.compactMap { line in
                    let parts = line.split(separator: "=", maxSplits: 1)
                    guard let name = parts.first, let value = parts.last, parts.count == 2 else { return nil }
                    return (name.trimmed.lowercased(), value.trimmed.lowercased())
                }, uniquingKeysWith: { $1 })
        }
        let directory = "/etc/audit/rules.d"
        if (try? Directory.names(host.path(directory))) == nil, host.exists(directory) {
            problems.append("\(directory) cannot be read")
        }
        let parts = host.names(directory).filter { $0.hasSuffix(".rules") }
        rules =
            parts.isEmpty
            ? lines("/etc/audit/audit.rules") ?? [] : parts.flatMap { lines("\(directory)/\($0)") ?? [] }
        kernelWords = host.read("/proc/cmdline").bytes.map { bytes in
            let blanks: Set<UInt8> = [UInt8(ascii: " "), UInt8(ascii: "\n")]
            // What follows `--` is init's (bootparam(7)).
            return bytes.split(whereSeparator: blanks.contains).map { String(decoding: $0, as: UTF8.self) }
                .prefix { $0 != "--" }.map(\.self)
        }
        let pid = host.read("/run/auditd.pid").bytes.flatMap {
            Int32(String(decoding: $0, as: UTF8.self).trimmed.filter { $0 != "\n" })
        }
        isRunning = pid.map { Self.isAuditd($0, host) } ?? false
        self.problems = problems
    }

    /// The last value of a kernel parameter, which is the one that counts; to the kernel `-` and `_` are alike in names.
    func kernelParameter(_ name: String) -> String? {
        kernelWords?.last { Self.parts($0).name == name }.flatMap { Self.parts($0).value }
    }

    /// A word's name with `_` for `-`, and its value.
    private static func parts(_ word: String) -> (name: String, value: String?) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String((parts.first ?? "").map { $0 == "-" ? "_" : $0 })
        return (name, parts.count == 2 ? parts.last.map { String($0) } : nil)
    }

    /// Whether a process is auditd: root's, and of the installed program. What a process calls itself is its own choice.
    private static func isAuditd(_ pid: Int32, _ host: LocalHost) -> Bool? {
        guard host.status("/proc/\(pid)")?.uid == host.superuser else { return false }
        let installed = ["/usr/sbin/auditd", "/sbin/auditd"].compactMap { host.status($0)?.identity }
        do throws(SystemError) {
            return installed.contains(try File.status(host.path("/proc/\(pid)/exe")).identity)
        } catch {
            return error.isPermission ? nil : false
        }
    }
}

/// What sudo logs and where it runs its commands (sudoers(5), Defaults).
struct SudoSettings {
    /// The options of `Defaults` lines without a binding, in their order; `!` stays before those that are negated.
    let options: [String]
    /// What could not be read.
    let problems: [String]
    /// Whether there is a sudoers file.
    let exists: Bool

    init(_ host: LocalHost) {
        exists = host.exists("/etc/sudoers")
        // Names with a dot or a tilde at their end are passed over (sudoers(5), @includedir).
        let parts = host.names("/etc/sudoers.d").filter { !$0.contains(".") && !$0.hasSuffix("~") }
        var options: [String] = []
        var problems: [String] = []
        for path in ["/etc/sudoers"] + parts.map({ "/etc/sudoers.d/\($0)" }) {
            switch host.read(path) {
            case .absent: continue
            case .unreadable(let text): problems.append(text)
            case .bytes(let bytes):
                for line in bytes.split(separator: UInt8(ascii: "\n")) {
                    let text = String(decoding: line, as: UTF8.self).trimmed
                    guard text.hasPrefix("Defaults"), let blank = text.dropFirst(8).first, blank == " " || blank == "\t"
                    else { continue }
                    options += text.dropFirst(8).split(separator: ",").map { String($0.trimmed) }
                }
            }
        }
        self.options = options
        self.problems = problems
    }

    /// Whether a flag is on; the last word on it counts, and `initial` where there is none.
    func isOn(_ flag: String, initially initial: Bool) -> Bool {
        options.last { $0 == flag || $0 == "!\(flag)" }.map { $0 == flag } ?? initial
    }

    /// The value of an option.
    func value(_ name: String) -> String? {
        let found = options.last { $0.split(separator: "=").first?.trimmed == name[...] && $0.contains("=") }
        return found.flatMap { $0.split(separator: "=", maxSplits: 1).last }
            .map { String($0.trimmed.filter { $0 != "\"" }) }
    }
}
